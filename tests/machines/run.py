"""One state machine for so many seconds: round after round, each with a seed of its own."""

from __future__ import annotations

import time
import traceback
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from hypothesis import HealthCheck, settings
from hypothesis.stateful import run_state_machine_as_test

if TYPE_CHECKING:
    from hypothesis.stateful import RuleBasedStateMachine

__all__ = ["STEPS_OF_AN_EXAMPLE", "Outcome", "run"]

STEPS_OF_AN_EXAMPLE = 100
"""At most: an example ends early when it has drawn as much as hypothesis allows."""

# Few, because the time is looked at between rounds; enough that what hypothesis begins each with,
# the simplest example of all, is not much of it.
_EXAMPLES_OF_A_ROUND = 50


@dataclass
class Outcome:
    """What has been run, and hypothesis's account of the failure that ended it, if any."""

    examples: int = 0
    steps: int = 0
    seconds: float = 0.0
    failure: str = ""


def run(machine: type[RuleBasedStateMachine], seconds: float) -> Outcome:
    """Run rounds until the time is up or one has failed."""
    outcome = Outcome()
    counted = _counted(machine, outcome)
    chosen = settings(
        max_examples=_EXAMPLES_OF_A_ROUND,
        stateful_step_count=STEPS_OF_AN_EXAMPLE,
        deadline=None,
        database=None,
        derandomize=False,
        suppress_health_check=list(HealthCheck),
    )
    began = time.monotonic()
    while not outcome.failure and outcome.seconds < seconds:
        try:
            run_state_machine_as_test(counted, settings=chosen)
        except Exception as failure:
            outcome.failure = "".join(traceback.format_exception(failure))
        outcome.seconds = time.monotonic() - began
    return outcome


def _counted(machine: type[RuleBasedStateMachine], outcome: Outcome) -> type[RuleBasedStateMachine]:
    """Return the machine, with its name, so that it counts what it does."""

    class Counted(machine):  # type: ignore[misc, valid-type]
        def __init__(self) -> None:
            super().__init__()
            outcome.examples += 1
            # The first check comes before any step.
            outcome.steps -= 1

        # An invariant of its own would be printed with every step of a failure.
        def check_invariants(self, *arguments: Any) -> None:
            outcome.steps += 1
            super().check_invariants(*arguments)

    Counted.__name__ = machine.__name__
    return Counted
