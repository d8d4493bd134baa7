"""Tasks. A task describes what a reader does, and is the same for every contender.

`fio`, `benchmarks.programs` or `benchmarks.user_programs` runs a task on a mount.
`benchmarks.client` runs it without FUSE. The command line passes the task as JSON, and the program
prints the `Outcome` as JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

__all__ = ["CHANGE_KINDS", "Kind", "Outcome", "Task", "percentiles"]

_PERCENTILES = (50.0, 95.0, 99.0)


class Kind(StrEnum):
    """The workload of a task."""

    SEQUENTIAL = "sequential"  # read from start to end; each thread reads a part
    RANDOM = "random"  # read single blocks at random offsets, for some seconds
    MAPPED = "mapped"  # read through mmap, from start to end
    TENSORS = "tensors"  # read a header, then pieces of 1 to 64 MiB out of order
    FILES = "files"  # list a folder, then open, read and close each file
    FIRST_BYTE = "first-byte"  # open a file that was not listed, and read one byte
    LIST = "list"  # list one folder, with the sizes of its entries
    WALK = "walk"  # list a tree, with the sizes of its entries
    REPEAT = "repeat"  # read a file twice; only the second read is measured
    TOUCH = "touch"  # list a tree, then open single files and read one byte of each
    HOLD = "hold"  # keep files open, then read single blocks of another file
    DIGEST = "digest"  # read from start to end, and compute a checksum of the bytes
    START = "start"  # only mount, without a reader
    OBSERVE = "observe"  # read one cached block repeatedly, without a mount
    PROGRAM = "program"  # run programs of `benchmarks.user_programs` one after the other
    WATCH = "watch"  # look at a file that another writer changes, until all changes have shown
    LOOK_UP = "look-up"  # list a tree, then look up its names and absent names, evenly over time
    HITS = "hits"  # read a file, then single blocks of it that the mount has in memory


CHANGE_KINDS = frozenset({Kind.WATCH, Kind.LOOK_UP, Kind.HITS})
"""The workloads of `benchmarks.change_programs`."""


@dataclass(frozen=True, slots=True)
class Task:
    """A task of a reader.

    `names` are objects or folders, relative to the bucket, or user programs. `size_bytes` is the
    size of each object. `count` limits the number of files or reads (0: all). `hold` is the number
    of files that stay open during the task. A run that exceeds `limit_seconds` fails.
    """

    kind: Kind
    names: tuple[str, ...]
    size_bytes: int = 0
    block_bytes: int = 1 << 20
    threads: int = 1
    seconds: float = 0.0
    shuffled: bool = False
    count: int = 0
    hold: int = 0
    seed: int = 1
    limit_seconds: float = 180.0

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Return the task that `to_json` has written."""
        raw = json.loads(text)
        return cls(**{**raw, "kind": Kind(raw["kind"]), "names": tuple(raw["names"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """The outcome of a task.

    `latencies` maps percentiles to seconds of single operations. `figures` holds further results of
    some tasks; each name states its unit.
    """

    seconds: float
    read_bytes: int = 0
    operations: int = 0
    latencies: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return the JSON text that `from_json` reads."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """Return the outcome that `to_json` has written."""
        return cls(**json.loads(text))


def percentiles(samples: list[float]) -> dict[str, float]:
    """Return the 50th, 95th and 99th percentile of the samples (nearest rank)."""
    ordered = sorted(samples)
    if not ordered:
        return {}
    return {
        f"{rank:g}": ordered[min(len(ordered) - 1, int(len(ordered) * rank / 100))]
        for rank in _PERCENTILES
    }
