"""The tasks, by name."""

from benchmarks.training import digits, stdlib

TASKS = {task.name: task for task in (digits.TASK, stdlib.TASK)}
