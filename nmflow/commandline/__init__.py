"""The commands that take files, each with its parser: what ``nmflow.cli`` puts together.

``prune`` is a model under masks, ``convert`` a Hugging Face folder: its options and what it prints,
with the work in ``convert_folder`` and what comes out in ``folder_report``. ``stopping`` makes an
exception of SIGTERM.
``warmup`` compiles kernels, ``doctor`` says what devices can do. ``outputs`` is what commands that
write have in common. Importing any of them loads nothing heavy.
"""
