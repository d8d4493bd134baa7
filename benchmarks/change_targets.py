"""The targets of a mount that receives changes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from benchmarks import changes_plan as plan
from benchmarks.targets import Verdict, at_least, at_most

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results, Run

__all__ = ["change_verdicts"]

_HITS = "mount, told, one core"
_EVENTS_PER_SECOND = 10_000


def change_verdicts(results: Results) -> list[Verdict]:
    """Return whether each target is met, in the order of the cases."""
    return [*_seen(results), *_hits(results), *_warm(results)]


def _delay_ms(run: Run) -> float:
    return run.outcome.latencies["50"] * 1e3


def _seen(results: Results) -> Iterator[Verdict]:
    """Yield how long after its event a change shows."""
    for command in plan.COMMANDS:
        case = plan.seen_case(command)
        for who, limit_ms in (("mount, told", 50), ("mount, told, 1,000/s", 100)):
            delay_ms = results.median(case, who, 0, _delay_ms)
            yield at_most(f"{case}, {who}", limit_ms, "ms (median)", delay_ms)


def _hits(results: Results) -> Iterator[Verdict]:
    """Yield how much slower READs are with events, and whether the events are consumed."""
    with_events = f"{_HITS}, {_EVENTS_PER_SECOND:,}/s"
    for rank in ("50", "99"):

        def latency(run: Run, rank: str = rank) -> float:
            return run.outcome.latencies[rank]

        quiet, busy = (results.median(plan.HITS, who, 0, latency) for who in (_HITS, with_events))
        name = f"{plan.HITS} with {_EVENTS_PER_SECOND:,} events/s, percentile {rank}"
        yield at_most(name, 1.2, "times without events", busy, quiet)
    rate = results.median(
        plan.HITS,
        with_events,
        0,
        lambda run: run.outcome.figures["events_acknowledged"] / run.outcome.seconds,
    )
    # The program ends before the last acknowledgements, which are up to 50 ms late.
    yield at_least(plan.HITS, 0.97, "of the events consumed", rate, float(_EVENTS_PER_SECOND))


def _warm(results: Results) -> Iterator[Verdict]:
    requests = results.median(plan.WARM, "mount, told", 0, lambda run: run.request_count)
    yield at_most(plan.WARM, 0, "requests", requests)
