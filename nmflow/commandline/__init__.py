"""The commands that take files, each with its parser: what ``nmflow.cli`` puts together.

``prune`` is a safetensors file under masks, ``warmup`` compiles kernels, ``outputs`` is what
commands that write have in common. Importing any of them loads nothing heavy.
"""
