"""What numba compiles: the algorithms of the solvers on tiles of numbers, and their parts."""
