"""Runs one state machine in rounds for a number of seconds. Each round has a new random seed."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

__all__ = ["MAX_STEPS", "MachineResult", "run"]

MAX_STEPS = 100
"""Maximum number of steps of one example. An example ends before this number of steps when it has
drawn as much random data as hypothesis allows."""

# Number of examples of one round. The number is small, because the time is checked only between two
# rounds. The number is not even smaller, because hypothesis begins every round with the simplest
# example again.
_EXAMPLES_PER_ROUND = 50


@dataclass
class MachineResult:
    """Number of examples and steps that have run, and the failure that ended the run."""

    examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    #: The report of hypothesis; empty if there was no failure.
    failure: str = ""


def run(machine: type[RuleBasedStateMachine], seconds: float) -> MachineResult:
    """Run rounds until `seconds` have passed or a round has failed."""
    result = MachineResult()
    counted = _counting(machine, result)
    round_settings = settings(
        max_examples=_EXAMPLES_PER_ROUND,
        stateful_step_count=MAX_STEPS,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    started = time.monotonic()
    while not result.failure and result.seconds < seconds:
        try:
            run_state_machine_as_test(counted, settings=round_settings)
        except Exception as failure:
            result.failure = "".join(traceback.format_exception(failure))
        result.seconds = time.monotonic() - started
    return result


def _counting(
    machine: type[RuleBasedStateMachine], result: MachineResult
) -> type[RuleBasedStateMachine]:
    """Return a subclass of `machine` that counts its examples and steps in `result`."""

    class CountingMachine(machine):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            result.examples += 1
            # The invariants are also checked once before the first step. This check must not count
            # as a step, so the count of steps begins one lower.
            result.steps -= 1

        # This is not an `@invariant`, because hypothesis prints every invariant of a failing step.
        def check_invariants(self, *arguments: Any) -> None:
            result.steps += 1
            super().check_invariants(*arguments)

    CountingMachine.__name__ = machine.__name__
    return CountingMachine
