"""Measures how far the READs of one object go on at one place; sans-IO.

Theory of operation

The kernel answers a page fault of a mapping with READs of a whole readahead window around the page,
even if the program needs only this page. A large window saves round trips if the program goes on to
the bytes beside the page, and is wasted if the program jumps to another place. The server cannot
see the faults. But it sees the READs: READs that lie side by side form a *burst*. A burst of one
window is a fault after which the program jumped. A burst of many windows is a program that went on.

So a burst has a meaning only in comparison with the window of its open file. A burst of 16 MiB is
one fault if the window has 16 MiB, and a long run if the window has 128 KiB. A burst shorter than
the window is a read(2) and not a fault, because read(2) fetches only what the program asks for, and
so it says nothing about the window. A program may also ask for exactly one window by read(2). Such
reads usually begin at a multiple of 64 KiB, and a fault at one page of 16 does. So a burst that
begins there does not count as a fault.

All open files of the object share one meter, because several threads may read one file alternately,
each through its own descriptor.

The meter sees only READs that wait or miss, and the progress of runs. It does not see the hits of
other patterns, such as interleaved readers. But it gets the number of bytes of all READs.

Invariants:
1. No method compares more than `_MAX_BURSTS` bursts.
2. A burst counts once: as long, as short, as isolated, or not at all.
"""

from __future__ import annotations

import enum

from gcsmux_fs.reading.sequential_run import KERNEL_READ_BYTES

__all__ = ["BurstMeter", "Density"]

# Minimum length of a long burst. A mapping that is read for 8 MiB at one place wastes at most half
# of a window of 16 MiB.
_LONG_BURST_BYTES = 8 * 1024 * 1024
# Maximum number of bursts that can grow at the same time: one for each thread of a program that
# reads one file with 8 threads.
_MAX_BURSTS = 8
# An isolated burst is one window long. If the window has several READs, some of them may be hits,
# and the meter sees hits late or not at all. So the length of such a burst may be between half a
# window and one and a half windows.
_READ_BYTES = 1024 * 1024
_MIN_FACTOR, _MAX_FACTOR = 0.5, 1.5
# Offsets of reads by read(2) are often multiples of this number.
_ALIGNMENT_BYTES = 64 * 1024
# Number of isolated bursts that make a verdict, and the number of bytes if the bursts are large.
# With windows of 16 MiB the verdict comes after 4 faults, because each costs 16 MiB.
_ISOLATED_BURSTS = 16
_ISOLATED_BYTES = 64 * 1024 * 1024
_MIN_ISOLATED_BURSTS = 4
# An early verdict needs an object of at least this many times the isolated bytes.
_EARLY_DIVISOR = 16


class Density(enum.Enum):
    """How programs read an object, as far as this concerns the kernel's readahead window."""

    #: Long bursts: a large window would be used.
    LONG_RUNS = enum.auto()
    #: Most bytes of the object, in bursts of any length: a large window costs no more bytes.
    MOSTLY_READ = enum.auto()
    #: Bursts of several windows that are no long bursts: the smallest window costs round trips.
    SHORT_RUNS = enum.auto()
    #: Isolated bursts of one window each: a smaller window would save bytes.
    ISOLATED = enum.auto()


class _Burst:
    __slots__ = ("bytes", "end", "start")

    def __init__(self, start: int, end: int) -> None:
        self.start = start
        self.end = end
        self.bytes = 0

    @property
    def length(self) -> int:
        return self.end - self.start


class BurstMeter:
    """The bursts of all open files of one object."""

    __slots__ = (
        "_bursts",
        "_isolated",
        "_isolated_bytes",
        "_long_bytes",
        "_reported",
        "_reported_bytes",
        "_short_bytes",
        "_total_before",
        "window_bytes",
    )

    def __init__(self) -> None:
        #: The size of the kernel's readahead window of the open files.
        self.window_bytes = KERNEL_READ_BYTES
        #: The bursts that may grow, the least recently used first.
        self._bursts: list[_Burst] = []
        #: The number of bytes of all READs at the last verdict.
        self._total_before = 0
        self._reset()

    def _reset(self) -> None:
        self._long_bytes = 0
        self._short_bytes = 0
        self._isolated = 0
        self._isolated_bytes = 0
        self._reported = 0
        self._reported_bytes = 0

    def __repr__(self) -> str:
        return (
            f"<BurstMeter window {self.window_bytes}, long {self._long_bytes},"
            f" isolated {self._isolated}>"
        )

    def set_window(self, window_bytes: int) -> None:
        """Set the window of the files that are open from now on."""
        if window_bytes != self.window_bytes:
            self._count_all()
            self.window_bytes = window_bytes

    def add(self, start: int, end: int) -> None:
        """Add a READ of `[start, end)` that waited or missed."""
        burst = self._burst_at(start, end)
        burst.bytes = min(burst.bytes + end - start, burst.length)

    def add_progress(self, start: int, end: int, bytes_read: int) -> None:
        """Add a readahead plan whose READs so far have `bytes_read` bytes of `[start, end)`."""
        burst = self._burst_at(start, end)
        burst.bytes = max(burst.bytes, bytes_read)

    def early_verdict(self, size: int) -> Density | None:
        """Return ISOLATED if this is certain before the files of the object are closed, else None.

        It is certain only while the isolated bursts are a small part of the `size` bytes: random
        reads of a smaller object may soon have read most of it. Each call needs new bursts.
        """
        isolated, isolated_bytes = self._isolated, self._isolated_bytes
        if (
            not _are_many(isolated - self._reported, isolated_bytes - self._reported_bytes)
            or isolated_bytes > size // _EARLY_DIVISOR
            or self._long_bytes > isolated_bytes
        ):
            return None
        self._reported, self._reported_bytes = isolated, isolated_bytes
        return Density.ISOLATED

    def verdict(self, size: int, total_read_bytes: int) -> Density | None:
        """Return how the object of `size` bytes was read since the last call, and begin again.

        `total_read_bytes` is the number of bytes of all READs of the object, hits included. The
        result is None if the READs do not show whether another window would be better.
        """
        self._count_all()
        long_bytes, short_bytes = self._long_bytes, self._short_bytes
        isolated, isolated_bytes = self._isolated, self._isolated_bytes
        read_bytes = total_read_bytes - self._total_before
        self._total_before = total_read_bytes
        self._reset()
        if long_bytes > isolated_bytes:
            return Density.LONG_RUNS
        if read_bytes > 2 * self.window_bytes and read_bytes >= size / 2:
            return Density.MOSTLY_READ
        if short_bytes >= max(_LONG_BURST_BYTES, isolated_bytes):
            return Density.SHORT_RUNS
        return Density.ISOLATED if _are_many(isolated, isolated_bytes) else None

    def _burst_at(self, start: int, end: int) -> _Burst:
        """Return the burst to which the bytes `[start, end)` belong, extended by them."""
        # READs of one burst may be a window apart: if the program goes backward, the kernel sends
        # the READs of each window in forward order.
        gap = self.window_bytes
        bursts = self._bursts
        for burst in reversed(bursts):
            if burst.start - gap <= end and start <= burst.end + gap:
                burst.start = min(start, burst.start)
                burst.end = max(end, burst.end)
                if burst is not bursts[-1]:
                    bursts.remove(burst)
                    bursts.append(burst)
                return burst
        burst = _Burst(start, end)
        bursts.append(burst)
        if len(bursts) > _MAX_BURSTS:
            self._count(bursts.pop(0))
        return burst

    def _count_all(self) -> None:
        for burst in self._bursts:
            self._count(burst)
        self._bursts.clear()

    def _count(self, burst: _Burst) -> None:
        length, window = burst.length, self.window_bytes
        if length > _MAX_FACTOR * window:
            # A burst of READs with gaps is not a run.
            if burst.bytes < length / 2:
                return
            if length >= _LONG_BURST_BYTES:
                self._long_bytes += burst.bytes
            else:
                self._short_bytes += burst.bytes
        elif burst.start % _ALIGNMENT_BYTES and (
            length == window or (window > _READ_BYTES and length >= _MIN_FACTOR * window)
        ):
            self._isolated += 1
            self._isolated_bytes += burst.bytes


def _are_many(bursts: int, total_bytes: int) -> bool:
    """Return whether this number of isolated bursts, and of their bytes, makes a verdict."""
    return bursts >= _ISOLATED_BURSTS or (
        bursts >= _MIN_ISOLATED_BURSTS and total_bytes >= _ISOLATED_BYTES
    )
