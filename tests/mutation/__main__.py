"""Mutation testing: `python -m tests.mutation [--jobs N] [MODULE...]`, all modules unless named.

Each mutant of a module is imported in its place, in a process of its own, and tests are run until
one fails: then the mutant is killed. If none does, it has survived, and `survivors.toml` has to
tell why, or the run fails. What survived unexplained is kept in `.mutants`. No source is touched.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
import tomllib
from collections import Counter
from itertools import islice
from multiprocessing import connection, get_context
from pathlib import Path
from typing import TYPE_CHECKING

from .operators import Mutant, mutants
from .trial import SURVIVED, prepare, try_tests

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from multiprocessing.context import ForkProcess

Groups = list[list[str]]

_FOLDER = Path(".mutants")
_EXPLANATIONS = Path(__file__).with_name("survivors.toml")
# A mutant may wait for ever. The tests run in virtual time: they never sleep for so long.
_ASLEEP_SECONDS = 10.0
_UNEXPLAINED = "unexplained"
# These classes claim that no test could tell: each entry has to say why.
_REASONED = {"equivalent", "speed"}


# What takes seconds is run last, what needs real sockets never.
_SLOW = {
    "test_core_machine.py",
    "test_stream_registry.py",
    "test_retry_budget.py",
    "test_scenarios.py",
}
_REAL = {"test_grpc_transport.py"}


def _tests_of(room: str, first: str) -> Groups:
    """Return a room's tests: those that kill soonest, the others that are quick, the slow ones."""
    names = {path.name for path in Path(room).glob("test_*.py")} - _REAL
    groups = {first}, names - _SLOW - {first}, names & _SLOW - {first}
    return [[f"{room}/{name}" for name in sorted(group)] for group in groups if group]


_TESTS: dict[str, Groups] = {
    "mux/assembly": _tests_of("tests/mux", "test_assembly.py"),
    "mux/range_table": _tests_of("tests/mux", "test_core.py"),
    "mux/answers": _tests_of("tests/mux", "test_core.py"),
    "mux/retry": _tests_of("tests/mux", "test_retry.py"),
    "mux/resume_state": _tests_of("tests/mux", "test_growing.py"),
    "mux/core": _tests_of("tests/mux", "test_core.py"),
    "mux/timer_queue": _tests_of("tests/mux", "test_timer_queue.py"),
    "mux/stream_registry": _tests_of("tests/mux", "test_stream_registry.py"),
    "model/backoff": [["tests/model/test_backoff.py"], ["tests/mux/test_retry.py"]],
    "model/retry_budget": [
        ["tests/model/test_retry_budget.py"],
        *_tests_of("tests/mux", "test_retry_budget.py"),
    ],
    "reading/memory_budget": _tests_of("tests/reading", "test_memory_budget.py"),
}


def main() -> int:
    """Try the modules one after the other, print a line for each; 1 if any is not as it should."""
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(_TESTS))
    chosen = parser.parse_args()
    explanations = tomllib.loads(_EXPLANATIONS.read_text())
    if bare := _without_reason(explanations):
        print(f"{_EXPLANATIONS.name}: no reason is given for {bare}", file=sys.stderr)
        return 1
    prepare()
    _FOLDER.mkdir(exist_ok=True)
    good = [
        _try_module(module, chosen.jobs, explanations.get(module, []))
        for module in chosen.modules or _TESTS
    ]
    return 0 if all(good) else 1


def _without_reason(explanations: dict[str, list[dict[str, str]]]) -> str:
    """Name the first entry whose class asks for a reason and that has none; empty if all have."""
    for module, entries in explanations.items():
        for each in entries:
            if each["class"] in _REASONED and not each.get("reason"):
                return f"{module}: {each['where']}: {each['before']} => {each['after']}"
    return ""


def _try_module(module: str, jobs: int, explanations: list[dict[str, str]]) -> bool:
    path = Path("gcsmux_fs", module).with_suffix(".py")
    source = path.read_text()
    tests = _TESTS[module]
    unchanged = _start(path, source, tests, quiet=False)
    unchanged.join()
    if unchanged.exitcode != SURVIVED:
        print(f"{module}: the tests fail by themselves", file=sys.stderr)
        return False
    made = list(mutants(source))
    explained = {
        (each["where"], each["before"], each["after"]): each["class"] for each in explanations
    }
    survived: Counter[str] = Counter()
    found: set[tuple[str, str, str]] = set()
    with (_FOLDER / f"{path.stem}.txt").open("w") as unexplained:
        for mutant in _survivors(made, path, tests, jobs):
            key = mutant.where, mutant.before, mutant.after
            found.add(key)
            why = explained.get(key, _UNEXPLAINED)
            survived[why] += 1
            if why is _UNEXPLAINED:
                text = f"{mutant.where}\n- {mutant.before}\n+ {mutant.after}\n\n"
                unexplained.write(text)
                unexplained.flush()
    told = "".join(f", {count} {why}" for why, count in sorted(survived.items()))
    killed = len(made) - survived.total()
    print(f"{module:15} {len(made):>4} mutants, {killed:>4} killed{told}", flush=True)
    needless = explained.keys() - found
    for where, before, after in sorted(needless):
        print(f"  explained, but killed or gone: {where}: {before} => {after}", flush=True)
    return _UNEXPLAINED not in survived and not needless


def _survivors(made: Sequence[Mutant], path: Path, tests: Groups, jobs: int) -> Iterator[Mutant]:
    """Try all mutants, `jobs` at a time, and yield those that no test has killed."""
    waiting = iter(made)
    running: dict[ForkProcess, Mutant] = {}
    awake: dict[ForkProcess, tuple[str, float]] = {}
    while True:
        for mutant in islice(waiting, jobs - len(running)):
            running[_start(path, mutant.source, tests, quiet=True)] = mutant
        if not running:
            return
        connection.wait([trial.sentinel for trial in running], timeout=1.0)
        now = time.monotonic()
        for trial, mutant in list(running.items()):
            if not trial.is_alive():
                del running[trial]
                awake.pop(trial, None)
                if trial.exitcode == SURVIVED:
                    yield mutant
                continue
            activity = _activity(trial)
            if awake.get(trial, ("", now))[0] != activity or not activity:
                awake[trial] = activity, now
            elif now - awake[trial][1] > _ASLEEP_SECONDS:
                trial.kill()


def _activity(trial: ForkProcess) -> str:
    """Return how long a process has computed; empty if it waits for nothing but a processor."""
    try:
        told = Path(f"/proc/{trial.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ""
    return " ".join(told[11:13]) if told[0] == "S" else ""


def _start(path: Path, source: str, tests: Groups, *, quiet: bool) -> ForkProcess:
    # Forked, so that what all trials import is imported once.
    trial = get_context("fork").Process(
        target=try_tests, args=(path, source, tests), kwargs={"quiet": quiet}
    )
    trial.start()
    return trial


if __name__ == "__main__":
    sys.exit(main())
