"""Measures the bandwidth of a range source.

`MeasuredSource` wraps the stream registry, which reads from the network. A tier between the block
cache and the wrapper, for example a disk, may answer ranges itself. These ranges do not pass
through the wrapper, so they are not counted as network bandwidth.
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING

from gcsmux_fs.model.errors import StorageError

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket

__all__ = ["MeasuredSource"]


class MeasuredSource:
    """A range source that reports each range received from `source` to `bandwidth`.

    `clock` returns the time in seconds.
    """

    def __init__(
        self, source: RangeSource, bandwidth: BandwidthEstimator, clock: Callable[[], float]
    ) -> None:
        self._source = source
        self._bandwidth = bandwidth
        self._clock = clock

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        """Request a range from `source`; see `RangeSource.request`."""
        return self._source.request(
            key,
            offset,
            length,
            functools.partial(self._received, done, self._clock(), self._bandwidth.received_bytes),
            final=final,
        )

    def _received(
        self,
        done: Callable[[memoryview | StorageError], None],
        requested_at: float,
        received_before: int,
        result: memoryview | StorageError,
    ) -> None:
        if not isinstance(result, StorageError):
            self._bandwidth.note_range(len(result), requested_at, received_before, self._clock())
        done(result)
