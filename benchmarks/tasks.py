"""What is measured: one value that says what a reader does, whoever serves it.

A task is the same for every contender. On a mount a program carries it out (`fio` or
`benchmarks.programs`), and without FUSE our own client does (`benchmarks.client`); it goes to
either as JSON on the command line, and comes back as an `Outcome` in JSON on stdout.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from enum import StrEnum

__all__ = ["Kind", "Outcome", "Task", "percentiles"]

_PERCENTILES = (50.0, 95.0, 99.0)


class Kind(StrEnum):
    """What a reader does."""

    SEQUENTIAL = "sequential"  # from start to end; several threads take a share each
    RANDOM = "random"  # single blocks at random places, for some seconds
    MAPPED = "mapped"  # through mmap, from start to end
    TENSORS = "tensors"  # a header, then pieces of 1 to 64 MiB out of order
    FILES = "files"  # list a folder, then open, read and close each file
    FIRST_BYTE = "first-byte"  # open a file never seen before and read one byte
    LIST = "list"  # the entries of one folder, with their sizes
    WALK = "walk"  # the entries of a tree, with their sizes
    REPEAT = "repeat"  # read a file twice; only the second time counts
    TOUCH = "touch"  # walk a tree, then open and read a byte of single files
    HOLD = "hold"  # keep files open, then read single blocks of another one


@dataclass(frozen=True, slots=True)
class Task:
    """One task.

    `names` are objects or folders, relative to the bucket; `size_bytes` is the size of each
    object, `count` limits how many files or reads there are (0: all), and `hold` is how many
    files are kept open meanwhile.
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

    def to_json(self) -> str:
        """Return what `from_json` takes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Task:
        """Return the task that `to_json` wrote."""
        raw = json.loads(text)
        return cls(**{**raw, "kind": Kind(raw["kind"]), "names": tuple(raw["names"])})


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a task took.

    `latencies` maps percentiles to seconds, of single operations; `figures` holds what only some
    tasks find out, in units that its names tell.
    """

    seconds: float
    read_bytes: int = 0
    operations: int = 0
    latencies: dict[str, float] = field(default_factory=dict)
    figures: dict[str, float] = field(default_factory=dict)

    def to_json(self) -> str:
        """Return what `from_json` takes."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str | bytes) -> Outcome:
        """Return the outcome that `to_json` wrote."""
        return cls(**json.loads(text))


def percentiles(samples: list[float]) -> dict[str, float]:
    """Return the percentiles that are reported, by the nearest rank."""
    ordered = sorted(samples)
    if not ordered:
        return {}
    return {
        f"{rank:g}": ordered[min(len(ordered) - 1, int(len(ordered) * rank / 100))]
        for rank in _PERCENTILES
    }
