"""Plant bugs one at a time, and see whether the tests catch them.

Each bug of ``bugs.toml`` is planted in a copy of the project, where the tests that are to catch it
run, and nothing else. Before that they all run in a copy without bugs: where a test fails there,
catching means nothing. Copies bring the kernels along that are compiled already, which numba takes
from beside their sources, so that no more is compiled than what the bug changes.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import tomllib
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
TABLE = Path(__file__).with_name("bugs.toml")

# What neither tests nor the package need; stale byte code would hide a bug.
_LEFT_OUT = shutil.ignore_patterns(".*", "*.pyc", "demo", "dist", "build", "*.egg-info")
_CAUGHT, _MISSED = 1, 0
_PYTEST = (sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider")
_NOT_SLOW = ("-m", "not slow")


@dataclass(frozen=True, slots=True)
class Bug:
    """A line of the table; see its head."""

    name: str
    why: str
    file: str
    old: str
    new: str
    tests: tuple[str, ...]

    def problem(self, root: Path) -> str | None:
        """Why it can't be planted in a tree; None if it can."""
        path = root / self.file
        if not path.is_file():
            return f"{self.file} is not there"
        count = path.read_text(encoding="utf-8").count(self.old)
        return None if count == 1 else f"{self.file} holds {self.old!r} {count} times, not once"

    def plant(self, root: Path) -> None:
        """Write it into a tree."""
        problem = self.problem(root)
        if problem:
            raise ValueError(f"{self.name}: {problem}")
        path = root / self.file
        text = path.read_text(encoding="utf-8")
        path.write_text(text.replace(self.old, self.new), encoding="utf-8")


@dataclass(frozen=True, slots=True)
class Outcome:
    """What became of a bug."""

    bug: Bug
    verdict: str
    seconds: float
    output: str

    @property
    def caught(self) -> bool:
        """Whether a test failed."""
        return self.verdict == "caught"


def read_table(path: Path = TABLE) -> list[Bug]:
    """All bugs, in their order."""
    entries = tomllib.loads(path.read_text(encoding="utf-8"))["bug"]
    return [Bug(**entry | {"tests": tuple(entry["tests"])}) for entry in entries]


def matching(pattern: str, ids: Iterable[str]) -> list[str]:
    """The node ids that a pattern means; without their parameters where it names none."""
    body = re.escape(pattern).replace(r"\*", ".*")
    means = re.compile(rf"(?:^|/|::){body}(?:$|::|\[)")
    found = [each for each in ids if means.search(each)]
    if "[" not in pattern:
        found = [each.partition("[")[0] for each in found]
    return list(dict.fromkeys(found))


def node_ids_of(bugs: Sequence[Bug], ids: Sequence[str]) -> dict[Bug, list[str]]:
    """The node ids of the tests of each bug."""
    found: dict[Bug, list[str]] = {}
    for bug in bugs:
        for pattern in bug.tests:
            means = matching(pattern, ids)
            if not means:
                raise SystemExit(f"{bug.name}: no test is called {pattern}")
            found[bug] = found.get(bug, []) + means
    return found


def copy_project(source: Path, target: Path) -> Path:
    """Copy a tree, with its compiled kernels."""
    return Path(shutil.copytree(source, target, ignore=_LEFT_OUT))


def run_tests(tree: Path, arguments: Sequence[str], limit: float | None) -> tuple[int | None, str]:
    """Run pytest in a tree; its exit code, None if it ran out of time, and what it printed."""
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("NUMBA_", "PYTEST_"))}
    environment["PYTHONPATH"] = str(tree)
    process = subprocess.Popen(
        [*_PYTEST, *arguments],
        cwd=tree,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=limit)
    except subprocess.TimeoutExpired:
        # Its children too, which would hold the pipe open.
        os.killpg(process.pid, signal.SIGKILL)
        return None, process.communicate()[0]
    return process.returncode, output


def collect(tree: Path) -> list[str]:
    """The node ids of all tests that are not slow."""
    code, output = run_tests(tree, ["--collect-only", *_NOT_SLOW], None)
    if code:
        raise SystemExit(output)
    return [line for line in output.splitlines() if "::" in line]


def try_bug(bug: Bug, control: Path, folder: Path, tests: Sequence[str], limit: float) -> Outcome:
    """Plant one bug in a copy of the control and run tests there."""
    began = time.monotonic()
    tree = copy_project(control, Path(tempfile.mkdtemp(dir=folder)) / "tree")
    try:
        bug.plant(tree)
        code, output = run_tests(tree, ["-x", *_NOT_SLOW, *tests], limit)
    finally:
        shutil.rmtree(tree.parent)
    verdicts = {_CAUGHT: "caught", _MISSED: "MISSED", None: "OUT OF TIME"}
    # Tests that can't be collected, or a process that was killed, say nothing.
    verdict = verdicts.get(code, f"EXIT {code}")
    return Outcome(bug, verdict, time.monotonic() - began, output)


def check_control(tree: Path, tests: Sequence[str], jobs: int) -> None:
    """Run all tests where no bug is; stop if one fails."""
    print(f"without a bug: {len(tests) or 'all'} tests or groups of tests", flush=True)
    began = time.monotonic()
    workers = ["-n", str(jobs), "--dist", "worksteal"] if jobs > 1 else []
    code, output = run_tests(tree, [*_NOT_SLOW, *workers, *tests], None)
    if code:
        raise SystemExit(f"{output}\npytest ends with {code} without a bug: catching means nothing")
    print(f"pass in {time.monotonic() - began:.0f} s", flush=True)


def plant_all(bugs: Sequence[Bug], options: argparse.Namespace) -> list[Outcome]:
    """Try all bugs, several at once; prints each outcome as it comes."""
    with tempfile.TemporaryDirectory(prefix="nmflow-bugs-") as folder:
        control = copy_project(ROOT, Path(folder) / "control")
        problems = [f"{bug.name}: {problem}" for bug in bugs if (problem := bug.problem(control))]
        if problems:
            raise SystemExit("\n".join(problems))
        tests = node_ids_of(bugs, collect(control))
        everything = list(dict.fromkeys(each for some in tests.values() for each in some))
        check_control(control, [] if options.all else everything, options.jobs)

        def work(bug: Bug) -> Outcome:
            chosen = [] if options.all else tests[bug]
            outcome = try_bug(bug, control, Path(folder), chosen, options.limit)
            print(f"{outcome.verdict:12}{outcome.seconds:6.0f} s  {bug.name}", flush=True)
            return outcome

        with ThreadPoolExecutor(options.jobs) as pool:
            return list(pool.map(work, bugs))


def main() -> int:
    """Run the command line; 1 where a bug was missed."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    add = parser.add_argument
    add("--list", action="store_true", help="print the table and stop")
    add("--only", metavar="NAME", action="append", help="bugs whose names hold this; repeatable")
    add("--all", action="store_true", help="run all tests that are not slow, not only the named")
    add("--jobs", type=int, default=os.cpu_count() or 1, help="how many at once; %(default)s")
    add("--limit", type=float, default=600, help="seconds for a bug; default: %(default)s")
    options = parser.parse_args()
    bugs = [
        bug
        for bug in read_table()
        if options.only is None or any(part in bug.name for part in options.only)
    ]
    if not bugs:
        parser.error(f"no bug is called so: {options.only}")
    if options.list:
        for bug in bugs:
            print(f"{bug.name}\n    {bug.file}: {bug.why}\n    {', '.join(bug.tests)}")
        return 0
    outcomes = plant_all(bugs, options)
    missed = [outcome for outcome in outcomes if not outcome.caught]
    for outcome in missed:
        print(f"\n{outcome.bug.name}: {outcome.verdict}\n{outcome.output[-2000:]}")
    print(f"{len(outcomes) - len(missed)} of {len(outcomes)} bugs caught")
    return bool(missed)


if __name__ == "__main__":
    sys.exit(main())
