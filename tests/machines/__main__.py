"""`python -m tests.machines [--seconds N] [MACHINE...]`: state machines, all unless named.

Each runs for N seconds. If one fails, its shortest example is printed, and the exit code is 1.
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

from tests.model.test_retry_budget_machine import RetryMachine
from tests.mux.test_core_machine import CoreMachine
from tests.namespace.test_inodes import InodeMachine
from tests.reading.test_blocks_machine import ReadPathMachine
from tests.reading.test_memory_budget_machine import BudgetMachine, SharesMachine
from tests.reading.test_readahead_machine import ReadaheadMachine

from .run import STEPS_OF_AN_EXAMPLE, Outcome, run

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
}


def main(words: Sequence[str] | None = None) -> int:
    """Run the machines, print a line for each; 1 if one has failed."""
    parser = argparse.ArgumentParser(prog="tests.machines", description=__doc__)
    parser.add_argument("--seconds", type=float, default=60.0, help="how long each machine runs")
    parser.add_argument("--jobs", type=int, default=1, help="how many run at the same time")
    parser.add_argument("--output", type=Path, help="write the summary as JSON to this file")
    parser.add_argument("machines", nargs="*", metavar="MACHINE", help=", ".join(MACHINES))
    chosen = parser.parse_args(words)
    names = chosen.machines or list(MACHINES)
    if unknown := [name for name in names if name not in MACHINES]:
        parser.error(f"there is no machine {unknown[0]!r}")
    date = datetime.now(UTC).isoformat(timespec="seconds")
    outcomes: dict[str, Outcome] = {}
    for name, outcome in zip(names, _run_all(names, chosen.seconds, chosen.jobs), strict=True):
        outcomes[name] = outcome
        _print(name, outcome)
    failed = [name for name, outcome in outcomes.items() if outcome.failure]
    if chosen.output is not None:
        summary = {
            "passed": not failed,
            "date": date,
            "seconds": chosen.seconds,
            "steps_of_an_example": STEPS_OF_AN_EXAMPLE,
            "machines": {name: asdict(outcome) for name, outcome in outcomes.items()},
        }
        chosen.output.parent.mkdir(parents=True, exist_ok=True)
        chosen.output.write_text(json.dumps(summary, indent=1) + "\n")
    return 1 if failed else 0


def _run_all(names: Sequence[str], seconds: float, jobs: int) -> Iterator[Outcome]:
    machines = [MACHINES[name] for name in names]
    if jobs == 1:
        yield from (run(machine, seconds) for machine in machines)
        return
    with ProcessPoolExecutor(jobs) as pool:
        yield from pool.map(run, machines, itertools.repeat(seconds))


def _print(name: str, outcome: Outcome) -> None:
    if outcome.failure:
        print(outcome.failure, file=sys.stderr)
    verdict = "FAILED" if outcome.failure else "no failure"
    print(
        f"{name:10} {outcome.examples:>8} examples, {outcome.steps:>9} steps,"
        f" {outcome.seconds:>4.0f} s: {verdict}",
        flush=True,
    )


if __name__ == "__main__":
    sys.exit(main())
