"""Runs state machines: `python -m tests.machines [--seconds N] [MACHINE...]`, by default all.

Each machine runs for N seconds. If a machine fails, the runner prints the shortest failing example
and ends with exit code 1.
"""

from __future__ import annotations

import argparse
import itertools
import json
import sys
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from tests.caching.crashes.test_tier_machine import TierMachine
from tests.model.test_retry_budget_machine import RetryMachine
from tests.mux.test_core_machine import CoreMachine
from tests.namespace.test_inodes import InodeMachine
from tests.reading.test_blocks_machine import ReadPathMachine
from tests.reading.test_memory_budget_machine import BudgetMachine, SharesMachine
from tests.reading.test_readahead_machine import ReadaheadMachine

from .run import MAX_STEPS, MachineResult, run

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from hypothesis.stateful import RuleBasedStateMachine

MACHINES: dict[str, type[RuleBasedStateMachine]] = {
    "core": CoreMachine,
    "retries": RetryMachine,
    "read_path": ReadPathMachine,
    "readahead": ReadaheadMachine,
    "budget": BudgetMachine,
    "shares": SharesMachine,
    "inodes": InodeMachine,
    "disk_tier": TierMachine,
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the machines and print a line for each; return 1 if a machine has failed."""
    parser = argparse.ArgumentParser(prog="tests.machines", description=__doc__)
    parser.add_argument(
        "--seconds", type=float, default=60.0, help="seconds that each machine runs"
    )
    parser.add_argument(
        "--jobs", type=int, default=1, help="number of machines that run in parallel"
    )
    parser.add_argument("--output", type=Path, help="JSON file for the summary")
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=", ".join(MACHINES))
    options = parser.parse_args(words)
    names = options.machines or list(MACHINES)
    if unknown := [name for name in names if name not in MACHINES]:
        parser.error(f"unknown machine {unknown[0]!r}: choose from {', '.join(MACHINES)}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    results: dict[str, MachineResult] = {}
    for name, result in zip(names, _run_all(names, options.seconds, options.jobs), strict=True):
        results[name] = result
        _print(name, result)
    failed = [name for name, result in results.items() if result.failure]
    if options.output is not None:
        summary = {
            "passed": not failed,
            "date": date,
            "seconds": options.seconds,
            "steps_of_an_example": MAX_STEPS,
            "machines": {name: asdict(result) for name, result in results.items()},
        }
        options.output.parent.mkdir(parents=True, exist_ok=True)
        options.output.write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if failed else 0


def _run_all(names: Sequence[str], seconds: float, jobs: int) -> Iterator[MachineResult]:
    machines = [MACHINES[name] for name in names]
    if jobs == 1:
        yield from (run(machine, seconds) for machine in machines)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, machines, itertools.repeat(seconds))


def _print(name: str, result: MachineResult) -> None:
    if result.failure:
        print(result.failure, file=sys.stderr)
    verdict = "FAILED" if result.failure else "no failure"
    print(
        f"{name:10} {result.examples:>8} examples, {result.steps:>9} steps,"
        f" {result.seconds:>4.0f} s: {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
