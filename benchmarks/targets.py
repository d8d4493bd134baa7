"""The performance targets. Each target compares measured figures with a limit.

Ratios are between medians of one run. A target whose figures are missing has no verdict.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from benchmarks import plans
from benchmarks.objects import KIB, SMALL_COUNT
from benchmarks.results import Metric, Run

if TYPE_CHECKING:
    from collections.abc import Iterator

    from benchmarks.results import Results

__all__ = ["Verdict", "at_least", "at_most", "verdicts"]

_RANDOM_1 = plans.random_case(4 * KIB, 1)
_RANDOM_32 = plans.random_case(4 * KIB, 32)
_LATENCY_SECONDS = 0.005
_GROWTH = 1.3


@dataclass(frozen=True, slots=True)
class Verdict:
    """A target and its result. `met` is None if the target was not measured."""

    workload: str
    target: str
    measured: str
    met: bool | None


def at_least(
    workload: str, limit: float, unit: str, upper: float | None, lower: float | None
) -> Verdict:
    """Return the verdict of a target whose limit is the smallest allowed `upper / lower`."""
    target = f"at least {limit:g} {unit}"
    if upper is None or not lower:
        return Verdict(workload, target, "not measured", None)
    return Verdict(workload, target, f"{upper / lower:.2f}", upper / lower >= limit)


def at_most(
    workload: str, limit: float, unit: str, value: float | None, divisor: float | None = 1.0
) -> Verdict:
    """Return the verdict of a target whose limit is the largest allowed `value / divisor`."""
    target = f"at most {limit:g} {unit}"
    if value is None or not divisor:
        return Verdict(workload, target, "not measured", None)
    measured = value / divisor
    return Verdict(workload, target, f"{measured:,.2f}", measured <= limit)


def verdicts(results: Results) -> list[Verdict]:
    """Return whether each target is met, in the order of the table."""
    return [
        *_sequential(results),
        *_four_readers(results),
        *_high_latency(results),
        *_random(results),
        *_small_files(results),
        *_listings(results),
        *_growth(results),
        *_observation(results),
    ]


def _rate(results: Results, case: str, contender: str) -> float | None:
    return results.median(case, contender, 0, lambda run: Metric.RATE.of(run.outcome))


def _sequential(results: Results) -> Iterator[Verdict]:
    client = _rate(results, plans.SEQUENTIAL, "client")
    for contender, limit, factor in (("mount, tuned", 0.6, 2.5), ("mount", 0.45, 1.5)):
        name = f"sequential cold, {contender}"
        rate = _rate(results, plans.SEQUENTIAL, contender)
        yield at_least(name, limit, "of our client", rate, client)
        # Compare with two variants, because rclone can omit the verification of checksums and our
        # mount cannot.
        for peer in ("rclone", "rclone, no checks"):
            yield at_least(
                name, factor, f"times {peer}", rate, _rate(results, plans.SEQUENTIAL, peer)
            )
    cpu = results.median(plans.SEQUENTIAL, "mount, tuned", 0, lambda run: run.cpu_seconds_per_gb)
    yield at_most("sequential cold, mount, tuned", 1.2, "processor seconds per GB", cpu)


def _four_readers(results: Results) -> Iterator[Verdict]:
    for case in (plans.FOUR_THREADS, plans.FOUR_FILES):
        for contender in ("mount", "mount, tuned"):
            alone = _rate(results, plans.SEQUENTIAL, contender)
            rate = _rate(results, case, contender)
            yield at_least(f"{case}, {contender}", 1.0, "of one reader", rate, alone)


def _steady(run: Run) -> float:
    return run.outcome.figures["steady_bytes_per_second"]


def _high_latency(results: Results) -> Iterator[Verdict]:
    for contender in ("mount", "mount, tuned"):
        near, far = (
            results.median(plans.SEQUENTIAL, contender, latency, _steady) for latency in (0, 50)
        )
        name = f"sequential at 50 ms, after 64 MiB, {contender}"
        yield at_least(name, 0.8, "of its rate at 0 ms", far, near)


def _random(results: Results) -> Iterator[Verdict]:
    median = results.median(_RANDOM_1, "mount", 5, lambda run: Metric.LATENCY.of(run.outcome))
    yield at_most(
        f"{_RANDOM_1}, 5 ms", 1.15, "times the latency (median)", median, _LATENCY_SECONDS
    )
    requested = results.median(
        _RANDOM_1, "mount", 5, lambda run: run.cost.bytes_asked / run.outcome.operations / KIB
    )
    yield at_most(f"{_RANDOM_1}, 5 ms", 64, "KiB requested per read", requested)

    def rate(run: Run) -> float:
        return Metric.OPERATIONS.of(run.outcome)

    raw = results.median(_RANDOM_32, "raw gRPC", 0, rate)
    ideal = 0.5 * 32 / _LATENCY_SECONDS
    least = ideal if raw is None else min(ideal, 0.35 * raw)
    measured = results.median(_RANDOM_32, "mount", 5, rate)
    unit = f"of {least:,.0f} op/s (the smaller of 0.5 x 32/latency and 0.35 x raw gRPC)"
    yield at_least(f"{_RANDOM_32}, 5 ms", 1.0, unit, measured, least)


def _small_files(results: Results) -> Iterator[Verdict]:
    opened = results.median(plans.OPENED, "mount", 5, lambda run: Metric.LATENCY.of(run.outcome))
    yield at_most(
        f"{plans.OPENED}, 5 ms", 1.25, "times the latency (median)", opened, _LATENCY_SECONDS
    )

    def seconds(run: Run) -> float:
        return run.outcome.seconds

    ordered = results.median(plans.IN_ORDER, "mount", 5, seconds)
    one_by_one = SMALL_COUNT * _LATENCY_SECONDS
    yield at_most(
        f"{plans.IN_ORDER}, 5 ms", 0.25, "of number of files x latency", ordered, one_by_one
    )
    shuffled, peer = (
        results.median(plans.SHUFFLED, who, 0, seconds) for who in ("mount", "gcsfuse")
    )
    yield at_most(f"{plans.SHUFFLED}, 0 ms", 1.3, "times gcsfuse", shuffled, peer)
    mount, client = (results.median(plans.SHUFFLED, who, 5, seconds) for who in ("mount", "client"))
    yield at_least(f"{plans.SHUFFLED}, 5 ms", 0.6, "of our client's rate", client, mount)


def _listings(results: Results) -> Iterator[Verdict]:
    case = plans.walk_case(100_000)
    mount, client = (
        results.median(case, who, 0, lambda run: run.outcome.seconds) for who in ("mount", "client")
    )
    yield at_most(case, 1.5, "of the listing by our client", mount, client)
    yield at_most(case, 400, "bytes per entry", _entry_bytes(results))
    first, complete = (
        results.median(plans.LIST, "mount", 5, figure)
        for figure in (lambda run: run.outcome.figures["first_entry_seconds"], _listing_seconds)
    )
    # The listing has ten pages. If the first entry appeared only after the last page, the ratio
    # would be almost 1.
    yield at_most(f"{plans.LIST}, 5 ms, first entry", 0.5, "of the whole listing", first, complete)


def _entry_bytes(results: Results) -> float | None:
    """Return the memory per entry in bytes: the difference of two listings per additional entry."""
    few, many = 1_000, 100_000
    growth = [
        results.median(plans.walk_case(count), "mount", 0, lambda run: run.cost.memory_growth_bytes)
        for count in (few, many)
    ]
    base, most = growth
    return None if base is None or most is None else (most - base) / (many - few)


def _listing_seconds(run: Run) -> float:
    return run.outcome.seconds


def _growth(results: Results) -> Iterator[Verdict]:
    touched = [(plans.touch_case(count), count) for count in plans.SIZES]
    held = [(plans.hold_case(count), count) for count in plans.HELD]
    for subject, cases in (("objects", touched), ("open files", held)):
        costs = [(count, _operation_cost(results, case)) for case, count in cases]
        known = [(count, cost) for count, cost in costs if cost is not None]
        if len(known) < 2:
            yield at_most(
                f"growth of the processor time per operation, {subject}", _GROWTH, "times", None
            )
            continue
        (few, base), (many, _) = known[0], known[-1]
        worst = max(cost for _, cost in known)
        name = f"growth of the processor time per operation from {few:,} to {many:,} {subject}"
        yield at_most(name, _GROWTH, "times", worst, base)


def _observation(results: Results) -> Iterator[Verdict]:
    """Yield the cost of one observation in microseconds: in a READ hit, and without a READ."""
    timed, untimed, observe = (
        results.median(plans.OBSERVATION, who, 0, lambda run: Metric.CALL.of(run.outcome) * 1e6)
        for who in ("READ hit", "READ hit, no histogram", "Histogram.observe")
    )
    difference = None if timed is None or untimed is None else timed - untimed
    yield at_most("READ hit, time added by its histogram", 1.0, "us", difference)
    yield at_most("Histogram.observe", 1.0, "us", observe)


def _operation_cost(results: Results, case: str) -> float | None:
    return results.median(case, "mount", 0, lambda run: run.cpu_seconds_per_operation)
