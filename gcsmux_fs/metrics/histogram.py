"""A histogram of durations with fixed buckets. Adding a duration is cheap enough for every READ."""

from __future__ import annotations

from bisect import bisect_left
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["BUCKET_BOUNDS_SECONDS", "Histogram"]

BUCKET_BOUNDS_SECONDS = (
    *(0.00001, 0.00002, 0.00005),
    *(0.0001, 0.0002, 0.0005),
    *(0.001, 0.002, 0.005),
    *(0.01, 0.02, 0.05),
    *(0.1, 0.2, 0.5),
    *(1.0, 2.0, 5.0),
    *(10.0, 20.0, 50.0),
    *(100.0, 200.0),
)
"""Upper bounds of the buckets, three for each power of ten. The lowest bound is 10 us, about the
time of a READ that the cache answers. The highest bound is longer than the default read timeout."""


class Histogram:
    """Counts observed durations by bucket, and keeps their sum in seconds."""

    __slots__ = ("counts", "total_seconds")

    def __init__(self) -> None:
        #: Number of observations in each bucket. The last bucket has no upper bound.
        self.counts = [0] * (len(BUCKET_BOUNDS_SECONDS) + 1)
        self.total_seconds = 0.0

    def __repr__(self) -> str:
        return f"<Histogram {self.count} observations, {self.total_seconds:.6f} s>"

    @classmethod
    def merged(cls, histograms: Iterable[Histogram]) -> Histogram:
        """Return a histogram of the observations of all `histograms`."""
        merged = cls()
        for each in histograms:
            merged.counts = [sum(pair) for pair in zip(merged.counts, each.counts, strict=True)]
            merged.total_seconds += each.total_seconds
        return merged

    @property
    def count(self) -> int:
        """Number of observed durations."""
        return sum(self.counts)

    def observe(self, seconds: float) -> None:
        """Count an observed duration of `seconds`."""
        self.counts[bisect_left(BUCKET_BOUNDS_SECONDS, seconds)] += 1
        self.total_seconds += seconds

    def quantile_bound(self, quantile: float) -> float:
        """Return the upper bound, in seconds, of the bucket that holds the quantile.

        The result is infinity for the last bucket, and 0 if there is no observation.
        """
        count = self.count
        if not count:
            return 0.0
        rank = quantile * count
        seen = 0
        for bound, observations in zip(BUCKET_BOUNDS_SECONDS, self.counts, strict=False):
            seen += observations
            if seen >= rank:
                return bound
        return float("inf")

    def summary(self) -> dict[str, float]:
        """Return the count and the sum of the durations, and limits of median and 99th percentile.

        Each limit is the upper bound of the bucket that holds the median or the percentile. An
        infinite bound is written as -1, because JSON has no infinity.
        """
        median, tail = self.quantile_bound(0.5), self.quantile_bound(0.99)
        return {
            "count": self.count,
            "sum_seconds": round(self.total_seconds, 6),
            "median_below_seconds": median if median != float("inf") else -1.0,
            "p99_below_seconds": tail if tail != float("inf") else -1.0,
        }
