"""The cases of a mount that receives changes. The name of each case begins with "changes"."""

from __future__ import annotations

from benchmarks import objects
from benchmarks.cases import Case
from benchmarks.objects import KIB, MIB
from benchmarks.results import Metric
from benchmarks.tasks import Kind, Task

__all__ = ["CASES", "COMMANDS", "HITS", "TREE", "WARM", "seen_case"]

COMMANDS = ("stat", "ls", "open")
WARM = "changes, warm tree, 100,000 look-ups"
HITS = "changes, READ hits"
TREE = "all"
"""The folder of the tree. Other events change the objects of its first folder."""

_BUCKET = objects.told_bucket(10_000)
# The file of the case `HITS` fits into the memory of a mount.
_HOT, _HOT_BYTES = "hot", 16 * MIB
_CHANGES = 200
_LOOK_UPS, _WARM_SECONDS = 100_000, 600.0


def seen_case(command: str) -> str:
    """Return the name of the case that measures when changes show through a command."""
    return f"changes, seen by {command}"


def _seen(command: str) -> Case:
    names = (command, f"watched/{command}", TREE)
    task = Task(Kind.WATCH, names, count=_CHANGES)
    who = ("mount, told", "mount, told, 1,000/s")
    return Case(seen_case(command), _BUCKET, task, Metric.LATENCY, who, rounds=3)


CASES = (
    *(_seen(command) for command in COMMANDS),
    Case(
        HITS,
        _BUCKET,
        Task(Kind.HITS, (_HOT, TREE), _HOT_BYTES, 4 * KIB, seconds=6.0),
        Metric.LATENCY,
        ("mount, told, one core", "mount, told, one core, 10,000/s"),
        rounds=5,
    ),
    Case(
        WARM,
        _BUCKET,
        Task(
            Kind.LOOK_UP,
            (TREE,),
            count=_LOOK_UPS,
            seconds=_WARM_SECONDS,
            limit_seconds=_WARM_SECONDS + 120.0,
        ),
        Metric.LATENCY,
        ("mount, told", "mount"),
        rounds=1,
    ),
)
"""All cases of changes, which take 25 minutes; 20 of them are the two runs of the case `WARM`."""
