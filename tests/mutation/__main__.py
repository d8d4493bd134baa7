"""Mutation testing: `python -m tests.mutation [--jobs N] [MODULE...]`; the default is all modules.

A mutant is a module with one small error. Each mutant is imported in place of its module, in its
own process, and tests run until one test fails: then the mutant is killed. If no test fails, the
mutant has survived. `survivors.toml` must list each surviving mutant with its class, or the run
fails. The folder `.mutants` receives the survivors that are not listed. No source file is changed.
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
_SURVIVORS = Path(__file__).with_name("survivors.toml")
# A trial that sleeps for this long is killed, because a mutant may wait forever. Without a mutant,
# no test sleeps for this long, because the tests run in virtual time.
_ASLEEP_SECONDS = 10.0
_UNLISTED = "unlisted"
# If a mutant in `survivors.toml` has one of these classes, its entry must also give the reason why
# no test can fail because of the mutant.
_CLASSES_WITH_REASON = {"equivalent", "speed"}


# The tests in `_SLOW` take seconds and run last. The tests in `_REAL` need real sockets and do not
# run.
_SLOW = {
    "test_core_machine.py",
    "test_stream_registry.py",
    "test_retry_budget.py",
    "test_scenarios.py",
}
_REAL = {"test_grpc_transport.py"}


def _tests_of(room: str, first: str) -> Groups:
    """Return the test files of the folder `room` in groups that run one after the other.

    The groups are: the file `first`, the other fast files, the slow files.
    """
    names = {path.name for path in Path(room).glob("test_*.py")} - _REAL
    groups = {first}, names - _SLOW - {first}, names & _SLOW - {first}
    return [[f"{room}/{name}" for name in sorted(group)] for group in groups if group]


_TESTS: dict[str, Groups] = {
    "mux/assembly": _tests_of("tests/mux", "test_assembly.py"),
    "mux/range_table": _tests_of("tests/mux", "test_core.py"),
    "mux/answers": _tests_of("tests/mux", "test_core.py"),
    "mux/retry": _tests_of("tests/mux", "test_retry.py"),
    "mux/resume_state": _tests_of("tests/mux", "test_growing_objects.py"),
    "mux/stream_states": _tests_of("tests/mux", "test_stream_states.py"),
    "mux/core": _tests_of("tests/mux", "test_core.py"),
    "mux/timer_queue": _tests_of("tests/mux", "test_timer_queue.py"),
    "mux/shared_stream": _tests_of("tests/mux", "test_late_events.py"),
    "mux/stream_registry": _tests_of("tests/mux", "test_stream_registry.py"),
    "changes/change_event": [["tests/changes/test_change_event.py"]],
    "changes/delivery_ledger": [
        ["tests/changes/test_delivery_ledger.py"],
        ["tests/changes/test_pull_core.py"],
    ],
    "changes/pull_core": [
        ["tests/changes/test_pull_core.py", "tests/changes/test_pull_states.py"],
    ],
    "changes/pull_endings": [
        ["tests/changes/test_pull_endings.py"],
        ["tests/changes/test_pull_core.py"],
    ],
    "changes/pull_states": [["tests/changes/test_pull_states.py"]],
    "model/backoff": [["tests/model/test_backoff.py"], ["tests/mux/test_retry.py"]],
    "model/failure_run": [["tests/mux/test_retry.py"], ["tests/changes/test_pull_core.py"]],
    "model/retry_budget": [
        ["tests/model/test_retry_budget.py"],
        *_tests_of("tests/mux", "test_retry_budget.py"),
    ],
    "reading/memory_budget": _tests_of("tests/reading", "test_memory_budget.py"),
}


def main() -> int:
    """Try the mutants of the chosen modules; return 1 if a module fails.

    Print one line for each module.
    """
    parser = argparse.ArgumentParser(prog="tests.mutation", description=__doc__)
    parser.add_argument("--jobs", type=int, default=os.cpu_count())
    parser.add_argument("modules", nargs="*", metavar="MODULE", help=", ".join(_TESTS))
    arguments = parser.parse_args()
    survivors = tomllib.loads(_SURVIVORS.read_text())
    if entry := _without_reason(survivors):
        print(f"{_SURVIVORS.name}: add a reason for {entry}", file=sys.stderr)
        return 1
    prepare()
    _FOLDER.mkdir(exist_ok=True)
    succeeded = [
        _try_module(module, arguments.jobs, survivors.get(module, []))
        for module in arguments.modules or _TESTS
    ]
    return 0 if all(succeeded) else 1


def _without_reason(survivors: dict[str, list[dict[str, str]]]) -> str:
    """Return as text the first entry that lacks a necessary reason; empty if no entry lacks one."""
    for module, entries in survivors.items():
        for each in entries:
            if each["class"] in _CLASSES_WITH_REASON and not each.get("reason"):
                return f"{module}: {each['where']}: {each['before']} => {each['after']}"
    return ""


def _try_module(module: str, jobs: int, survivors: list[dict[str, str]]) -> bool:
    path = Path("gcsmux_fs", module).with_suffix(".py")
    source = path.read_text()
    tests = _TESTS[module]
    unchanged = _start(path, source, tests, quiet=False)
    unchanged.join()
    if unchanged.exitcode != SURVIVED:
        print(f"{module}: the tests fail without a mutation; run them with pytest", file=sys.stderr)
        return False
    all_mutants = list(mutants(source))
    listed = {(each["where"], each["before"], each["after"]): each["class"] for each in survivors}
    counts: Counter[str] = Counter()
    survived: set[tuple[str, str, str]] = set()
    with (_FOLDER / f"{path.stem}.txt").open("w") as unlisted:
        for mutant in _survivors(all_mutants, path, tests, jobs):
            key = mutant.where, mutant.before, mutant.after
            survived.add(key)
            kind = listed.get(key, _UNLISTED)
            counts[kind] += 1
            if kind is _UNLISTED:
                text = f"{mutant.where}\n- {mutant.before}\n+ {mutant.after}\n\n"
                unlisted.write(text)
                unlisted.flush()
    classes = "".join(f", {count} {kind}" for kind, count in sorted(counts.items()))
    killed = len(all_mutants) - counts.total()
    print(f"{module:15} {len(all_mutants):>4} mutants, {killed:>4} killed{classes}", flush=True)
    outdated = listed.keys() - survived
    for where, before, after in sorted(outdated):
        print(
            f"  listed as a survivor, but killed or gone: {where}: {before} => {after}",
            flush=True,
        )
    return _UNLISTED not in counts and not outdated


def _survivors(
    all_mutants: Sequence[Mutant], path: Path, tests: Groups, jobs: int
) -> Iterator[Mutant]:
    """Try all mutants, `jobs` at a time, and yield the survivors."""
    waiting = iter(all_mutants)
    running: dict[ForkProcess, Mutant] = {}
    active: dict[ForkProcess, tuple[str, float]] = {}
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
                active.pop(trial, None)
                if trial.exitcode == SURVIVED:
                    yield mutant
                continue
            activity = _activity(trial)
            if active.get(trial, ("", now))[0] != activity or not activity:
                active[trial] = activity, now
            elif now - active[trial][1] > _ASLEEP_SECONDS:
                trial.kill()


def _activity(trial: ForkProcess) -> str:
    """Return the processor time of a sleeping process; empty for a process that is not asleep."""
    try:
        fields = Path(f"/proc/{trial.pid}/stat").read_text().rpartition(")")[2].split()
    except FileNotFoundError:
        return ""
    return " ".join(fields[11:13]) if fields[0] == "S" else ""


def _start(path: Path, source: str, tests: Groups, *, quiet: bool) -> ForkProcess:
    # A forked process inherits the imported modules, so the modules are imported once for all
    # trials.
    trial = get_context("fork").Process(
        target=try_tests, args=(path, source, tests), kwargs={"quiet": quiet}
    )
    trial.start()
    return trial


if __name__ == "__main__":
    sys.exit(main())
