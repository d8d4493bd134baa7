"""The plans: the quick plan runs only the cases of the targets, the full plan runs all cases.

This module defines the name of each case. Targets and charts refer to these names.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from benchmarks import cache_plan, changes_plan, objects, programs_plan, user_objects
from benchmarks.cases import Case, Plan
from benchmarks.objects import BIG, BIG_BUCKET, GIB, KIB, MIB, QUARTERS, WIDE, WIDE_BYTES
from benchmarks.results import Metric
from benchmarks.tasks import Kind, Task

if TYPE_CHECKING:
    from benchmarks.programs_plan import Program

__all__ = [
    "Case",
    "Plan",
    "full",
    "hold_case",
    "programs",
    "quick",
    "random_case",
    "touch_case",
    "walk_case",
]

SEQUENTIAL = "sequential, 1 GiB"
FOUR_THREADS = "4 threads, one file"
FOUR_FILES = "4 files at once"
OPENED = "open + read, 64 KiB listed"
IN_ORDER = "2,000 files in order"
SHUFFLED = "2,000 files shuffled, 16 threads"
LIST = "list 10,000"
OBSERVATION = "one observation"
FIRST_BYTE = "first byte"
MAPPED = "mmap, 1 GiB"
TENSORS = "model loading, 1 GiB"
REPEAT = "read again, 1 GiB"
HELD = (1, 1_000, 5_000)
SIZES = (1_000, 10_000, 100_000)

# Slow runs vary little, relative to their duration.
_ONCE_SECONDS = 6.0
_CLIENT_AND_MOUNT = ("client", "mount")
_MOUNTS = ("client", "mount", "mount, tuned")
_BOTH_MOUNTS = ("mount", "mount, tuned")
_READERS = (
    "client",
    "mount",
    "mount, tuned",
    "rclone",
    "rclone, no checks",
    "gcsfuse",
    "gcsfuse, zonal",
)
_PEERS = ("client", "mount", "rclone", "gcsfuse")
_MEMORY_ONLY = ("pyfuse3", "pyfuse3, tuned")
_OBSERVED = ("READ hit", "READ hit, no histogram", "Histogram.observe")


def random_case(block_bytes: int, threads: int) -> str:
    """Return the name of a case of random reads."""
    unit = f"{block_bytes // KIB} KiB" if block_bytes < MIB else f"{block_bytes // MIB} MiB"
    return f"random {unit}, {threads} thread{'s' * (threads > 1)}"


def walk_case(count: int) -> str:
    """Return the name of the case that lists a tree of `count` objects."""
    return f"find {count:,}"


def touch_case(count: int) -> str:
    """Return the name of the case that opens single files out of `count` objects."""
    return f"one file of {count:,}"


def hold_case(count: int) -> str:
    """Return the name of the case that reads while `count` files are open."""
    return f"read with {count:,} open"


_BIG = Task(Kind.SEQUENTIAL, (BIG,), GIB)
_TENSORS = Task(Kind.TENSORS, (BIG,), GIB)
_IN_ORDER = Task(Kind.FILES, ("files",))
_SHUFFLED = replace(_IN_ORDER, shuffled=True)
_LISTED = replace(_SHUFFLED, count=200)


def _big(
    name: str, task: Task, contenders: tuple[str, ...], rounds: int, latency_ms: int = 0
) -> Case:
    return Case(name, BIG_BUCKET, task, Metric.RATE, contenders, (latency_ms,), rounds)


def _sequential(contenders: tuple[str, ...], rounds: int, *latencies_ms: int) -> Case:
    return Case(SEQUENTIAL, BIG_BUCKET, _BIG, Metric.RATE, contenders, latencies_ms, rounds)


def _parallel(contenders: tuple[str, ...], rounds: int) -> tuple[Case, Case]:
    """Return two cases: four threads read one file, and four threads read a file each."""
    files = Task(Kind.SEQUENTIAL, QUARTERS, 256 * MIB, threads=4)
    return (
        _big(FOUR_THREADS, replace(_BIG, threads=4), contenders, rounds),
        _big(FOUR_FILES, files, contenders, rounds),
    )


def _random(
    block_bytes: int,
    threads: int,
    contenders: tuple[str, ...],
    *latencies_ms: int,
    seconds: float = 1.5,
) -> Case:
    task = Task(Kind.RANDOM, (WIDE,), WIDE_BYTES, block_bytes, threads, seconds)
    metric = Metric.LATENCY if threads == 1 else Metric.OPERATIONS
    name = random_case(block_bytes, threads)
    return Case(name, BIG_BUCKET, task, metric, contenders, latencies_ms, rounds=2)


def _files(
    name: str, task: Task, contenders: tuple[str, ...], rounds: int, *latencies_ms: int
) -> Case:
    metric = Metric.LATENCY if task.count else Metric.SECONDS
    return Case(name, objects.SMALL_BUCKET, task, metric, contenders, latencies_ms, rounds)


def _first_byte(contenders: tuple[str, ...], rounds: int, *latencies_ms: int) -> Case:
    names = tuple(f"files/{number:05}" for number in range(0, objects.SMALL_COUNT, 40))
    task = Task(Kind.FIRST_BYTE, names)
    bucket = objects.SMALL_BUCKET
    return Case(FIRST_BYTE, bucket, task, Metric.LATENCY, contenders, latencies_ms, rounds)


def _list(contenders: tuple[str, ...], rounds: int, *latencies_ms: int) -> Case:
    bucket = objects.flat_bucket(10_000)
    task = Task(Kind.LIST, ("all",))
    return Case(LIST, bucket, task, Metric.SECONDS, contenders, latencies_ms, rounds)


def _walk(count: int, contenders: tuple[str, ...], rounds: int, *latencies_ms: int) -> Case:
    task = Task(Kind.WALK, ("all",))
    bucket = objects.tree_bucket(count)
    return Case(walk_case(count), bucket, task, Metric.SECONDS, contenders, latencies_ms, rounds)


def _touch(count: int, rounds: int) -> Case:
    task = Task(Kind.TOUCH, ("all",), shuffled=True, count=1_000)
    bucket = objects.tree_bucket(count)
    return Case(touch_case(count), bucket, task, Metric.LATENCY, ("mount",), rounds=rounds)


def _hold(count: int, rounds: int) -> Case:
    folders = tuple(f"all/{number:04}" for number in range(-(-count // 1_000)))
    task = Task(Kind.HOLD, (*folders, WIDE), GIB, 4 * KIB, hold=count, count=1_000)
    bucket = objects.tree_bucket(10_000)
    return Case(hold_case(count), bucket, task, Metric.LATENCY, ("mount",), rounds=rounds)


def _observation(rounds: int) -> Case:
    task = Task(Kind.OBSERVE, ("file",), 64 * KIB, block_bytes=4 * KIB, count=2_000)
    return Case(OBSERVATION, objects.NO_BUCKET, task, Metric.CALL, _OBSERVED, rounds=rounds)


def _program(program: Program, contenders: tuple[str, ...], latency_ms: int, rounds: int) -> Case:
    return Case(
        program.title,
        user_objects.BUCKET,
        program.task,
        Metric.SECONDS,
        contenders,
        (latency_ms,),
        rounds,
        client_task=program.client,
        once_seconds=_ONCE_SECONDS,
    )


def _warm_up(latency_ms: int, contenders: tuple[str, ...]) -> Case:
    """Return the case in which the client reads all objects of the programs once."""
    zonal = any(who.endswith("zonal") for who in contenders)
    clients = ("client", "client, zonal") if zonal else ("client",)
    bucket, task = user_objects.BUCKET, programs_plan.WARM_UP_TASK
    return Case(
        programs_plan.WARM_UP, bucket, task, Metric.SECONDS, clients, (latency_ms,), rounds=1
    )


def programs(
    latencies_ms: tuple[int, ...], contenders: tuple[str, ...] = (), rounds: int = 1
) -> Plan:
    """Return the plan of the user programs; without `contenders`, with those of each latency."""
    cases: list[Case] = []
    for latency_ms in latencies_ms:
        usual = contenders or programs_plan.CONTENDERS[latency_ms]
        cases.append(_warm_up(latency_ms, usual))
        for each in programs_plan.PROGRAMS:
            who = usual if contenders else (*usual, *each.also)
            cases.append(_program(each, who, latency_ms, rounds))
    return Plan("programs", tuple(cases))


def quick() -> Plan:
    """Return the plan with only the cases of the targets, which takes 3 minutes."""
    return Plan(
        "quick",
        (
            _sequential(_READERS, 3, 0),
            _sequential(_BOTH_MOUNTS, 1, 50),
            *_parallel(_BOTH_MOUNTS, 2),
            _random(4 * KIB, 1, ("raw gRPC", *_CLIENT_AND_MOUNT), 5),
            _random(4 * KIB, 32, _CLIENT_AND_MOUNT, 5),
            _random(4 * KIB, 32, ("raw gRPC",), 0),
            _files(OPENED, _LISTED, _CLIENT_AND_MOUNT, 2, 5),
            _files(IN_ORDER, _IN_ORDER, ("mount",), 1, 5),
            _files(SHUFFLED, replace(_SHUFFLED, threads=16), _CLIENT_AND_MOUNT, 2, 5),
            _files(SHUFFLED, replace(_SHUFFLED, threads=16), ("mount", "gcsfuse"), 1, 0),
            _list(_CLIENT_AND_MOUNT, 1, 5),
            _walk(1_000, ("mount",), 1, 0),
            _walk(100_000, _CLIENT_AND_MOUNT, 1, 0),
            *(_touch(count, rounds=1) for count in SIZES),
            *(_hold(count, rounds=1) for count in HELD),
            _observation(rounds=3),
        ),
    )


def full() -> Plan:
    """Return the plan of all cases, which takes 55 minutes."""
    cases = [
        _sequential((*_READERS, *_MEMORY_ONLY, "disk"), 3, 0),
        _sequential(_MOUNTS, 2, 50),
        *_parallel(_READERS, 2),
        _big(MAPPED, Task(Kind.MAPPED, (BIG,), GIB), _READERS, 2),
        _big(TENSORS, _TENSORS, _READERS, 2),
        _big(REPEAT, Task(Kind.REPEAT, (BIG,), GIB), _READERS[1:], 2),
        _random(4 * KIB, 1, ("raw gRPC", *_PEERS), 0, 5),
        _random(4 * KIB, 32, ("raw gRPC", *_PEERS), 0, 5),
        # The tuned mount runs too, because its larger READs affect blocks of 1 MiB.
        _random(MIB, 1, ("mount, tuned", *_PEERS), 0, 5),
        *(_random(4 * KIB, threads, _CLIENT_AND_MOUNT, 5) for threads in (2, 8, 64)),
        _files(OPENED, _LISTED, _PEERS, 2, 0, 5),
        _files(IN_ORDER, _IN_ORDER, _PEERS[1:], 2, 0, 5),
        _files(SHUFFLED, replace(_SHUFFLED, threads=16), _PEERS, 2, 0, 5),
        _first_byte(_PEERS, 2, 0, 5),
        _list(_PEERS, 2, 0, 5),
        *(_walk(count, _CLIENT_AND_MOUNT, 1, 0) for count in SIZES),
        _walk(100_000, _PEERS[2:], 1, 0),
        *(_touch(count, rounds=1) for count in SIZES),
        *(_hold(count, rounds=2) for count in HELD),
        _observation(rounds=3),
        *cache_plan.CASES,
        *changes_plan.CASES,
        *programs((1,)).cases,
        *programs((20,), rounds=2).cases,
        *programs((50,)).cases,
        _program(programs_plan.ALL, ("mount",), 1, rounds=1),
    ]
    return Plan("full", tuple(cases))
