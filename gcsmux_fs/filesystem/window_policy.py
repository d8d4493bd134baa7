"""Chooses the kernel's readahead window of each opened file; sans-IO.

Theory of operation

The kernel has one readahead window for each open file. A page fault of a mapping makes the kernel
read a whole window around the page. So a large window saves round trips where a program reads on,
and wastes bytes where a program reads single pages. No window is good for both, so the policy
chooses one for each OPEN, from the first of these that is known:

1. how the same object was read when it was open before;
2. how files of the same suffix in the same directory were read;
3. how files of the same suffix were read;
4. what is generally known about the suffix (`_KINDS`);
5. the size: a small object gets a large window, because a fault cannot cost more than the object.

If nothing is known, the file gets a moderate window.

The bursts of READs of a closed file (`reading/burst_meter.py`) are a vote for a window. Long bursts
are a vote for the largest window, and bursts of a few windows for the moderate one. Isolated bursts
are a vote for the window below the one that the file had, because they only show that this window
was too large.

Invariants:
1. The memory for history is bounded: the least recently used entries are dropped.
2. One vote does not change what is known about other files: it takes two votes in a row.
"""

from __future__ import annotations

import enum
import functools
from typing import TYPE_CHECKING, TypeVar

import cachetools

from gcsmux_fs.reading.burst_meter import Density
from gcsmux_fs.reading.file_forecasts import kind_of

if TYPE_CHECKING:
    from gcsmux_fs.metrics.registry import Registry

__all__ = ["MODERATE_WINDOW_BYTES", "Window", "WindowPolicy"]

_Key = TypeVar("_Key")

_KIB = 1024
_MIB = 1024 * 1024

MODERATE_WINDOW_BYTES = _MIB
"""The window of a file about which nothing is known. A page fault at a random place then fetches
1 MiB. With 512 KiB, mapped files that are read in any order took 1.7 times as long, and with 2 MiB,
random page faults fetched twice as many bytes."""

# Maximum size of a file that gets the largest window although nothing is known about it. A fault
# then fetches the whole file, at most four times as much as with the moderate window.
_SMALL_FILE_BYTES = 4 * _MIB

_MAX_ENTRIES = 2048


class Window(enum.IntEnum):
    """The windows that the policy chooses, in bytes."""

    #: For single pages. It is the kernel's default, so a file costs no more than without a choice.
    SMALL = 128 * _KIB
    MODERATE = MODERATE_WINDOW_BYTES
    #: For long runs. libfuse limits a READ to 1 MiB, so the kernel keeps 16 READs in flight. Larger
    #: windows were not faster.
    LARGE = 16 * _MIB


# What is generally known about suffixes.
_KINDS: dict[str, Window] = {
    # Weights of models: programs load whole tensors.
    **dict.fromkeys(("safetensors", "gguf", "ggml", "pt", "pth", "ckpt", "onnx"), Window.LARGE),
    # Arrays and tables: programs read whole chunks, columns or slices.
    **dict.fromkeys(("npy", "npz", "h5", "hdf5", "parquet", "arrow", "feather"), Window.LARGE),
    # Archives and compressed files: programs read them in order.
    **dict.fromkeys(("tar", "tgz", "zip", "gz", "bz2", "xz", "zst", "tfrecord"), Window.LARGE),
    # Films: players read on from each place.
    **dict.fromkeys(("mp4", "mkv", "mov", "webm", "avi"), Window.LARGE),
    # Databases: programs read single pages, at places that an index gives.
    **dict.fromkeys(("mdb", "lmdb", "db", "sqlite", "sqlite3", "gpkg", "mbtiles"), Window.SMALL),
}


class _Votes:
    """The window for one object, directory or suffix; None if unknown. Decided by votes."""

    __slots__ = ("_candidate", "_count", "window")

    def __init__(self, window: Window | None) -> None:
        self.window = window
        self._candidate = window
        self._count = 0

    def add(self, window: Window, needed: int) -> None:
        """Count a vote. `needed` votes in a row for another window replace the window."""
        self._count = self._count + 1 if window is self._candidate else 1
        self._candidate = window
        if self._count >= needed:
            self.window = window


class WindowPolicy:
    """Chooses windows for the files of one mount, and learns from how files were read."""

    def __init__(self) -> None:
        self._objects: cachetools.LRUCache[str, _Votes] = cachetools.LRUCache(_MAX_ENTRIES)
        # The key is (directory, suffix).
        self._directories: cachetools.LRUCache[tuple[str, str], _Votes] = cachetools.LRUCache(
            _MAX_ENTRIES
        )
        self._suffixes: cachetools.LRUCache[str, _Votes] = cachetools.LRUCache(_MAX_ENTRIES)
        self._chosen = dict.fromkeys(Window, 0)

    def declare_metrics(self, registry: Registry) -> None:
        """Declare how often each window was chosen."""
        for window in Window:
            registry.counter(
                "kernel_windows",
                "opens",
                "OPENs for which a readahead window of the kernel was chosen.",
                functools.partial(self._chosen.__getitem__, window),
                {"window": window.name.lower()},
            )

    def choose(self, name: str, size: int) -> Window | None:
        """Return the window for an OPEN of the object `name`; None if every window is as good."""
        if size <= Window.SMALL:
            return None
        window = self._known(name)
        if window is None:
            window = Window.LARGE if size <= _SMALL_FILE_BYTES else Window.MODERATE
        self._chosen[window] += 1
        return window

    def learn(self, name: str, used: int, density: Density | None) -> None:
        """Record how a file was read whose window had `used` bytes; None records nothing."""
        if density is None:
            return
        vote = _vote(used, density)
        directory, suffix = kind_of(name)
        known = self._known(name)
        # The window of the object itself shrinks at once, because a window that is too large costs
        # more than a window that is too small. It grows at once if the window cannot cost more.
        is_doubtful = density is not Density.MOSTLY_READ and known is not None and vote > known
        _entry(self._objects, name, known).add(vote, 2 if is_doubtful else 1)
        if density is Density.MOSTLY_READ:
            # Random reads of a small object can read most of it too. So the verdict says nothing
            # about other objects, which may be larger.
            return
        by_directory = _entry(self._directories, (directory, suffix), self._known_of_suffix(suffix))
        by_directory.add(vote, 1 if by_directory.window is None else 2)
        if suffix:
            _entry(self._suffixes, suffix, _KINDS.get(suffix)).add(vote, 2)

    def _known(self, name: str) -> Window | None:
        """Return the window that history or `_KINDS` give for an object; None if unknown."""
        by_object = self._objects.get(name)
        if by_object is not None and by_object.window is not None:
            return by_object.window
        place = kind_of(name)
        by_directory = self._directories.get(place)
        if by_directory is not None and by_directory.window is not None:
            return by_directory.window
        return self._known_of_suffix(place[1])

    def _known_of_suffix(self, suffix: str) -> Window | None:
        known = self._suffixes.get(suffix)
        return _KINDS.get(suffix) if known is None else known.window


def _entry(votes: cachetools.LRUCache[_Key, _Votes], key: _Key, initial: Window | None) -> _Votes:
    """Return the votes of `key`; new votes begin with the window `initial`."""
    entry = votes.get(key)
    if entry is None:
        entry = votes[key] = _Votes(initial)
    return entry


def _vote(used: int, density: Density) -> Window:
    if density is Density.SHORT_RUNS:
        return Window.MODERATE
    if density is Density.ISOLATED:
        return Window.MODERATE if used > Window.MODERATE else Window.SMALL
    return Window.LARGE
