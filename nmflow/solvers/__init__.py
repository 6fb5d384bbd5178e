"""The solvers: one method a file, found by name through :mod:`nmflow.solvers.registry`."""
