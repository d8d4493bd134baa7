"""Measurements by fio: the command line of a task, and the outcome from its JSON output."""

from __future__ import annotations

import json
import shutil
from typing import TYPE_CHECKING, TypedDict

from benchmarks.tasks import Kind, Outcome, Task

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["command", "is_installed", "parse", "supports"]

_NANOSECONDS = 1e9
_SHOWN = {"50.000000": "50", "95.000000": "95", "99.000000": "99"}


class _Latency(TypedDict, total=False):
    percentile: dict[str, int]


class _Reads(TypedDict):
    io_bytes: int
    runtime: int
    total_ios: int
    clat_ns: _Latency


class _Job(TypedDict):
    error: int
    read: _Reads


class _Answer(TypedDict):
    jobs: list[_Job]


def is_installed() -> bool:
    """Return whether fio is installed."""
    return shutil.which("fio") is not None


def supports(task: Task) -> bool:
    """Return whether fio has a workload for the task."""
    return task.kind in {Kind.RANDOM, Kind.MAPPED} or (
        task.kind is Kind.SEQUENTIAL and task.threads > 1
    )


def command(task: Task, folder: Path) -> list[str]:
    """Return the command line of fio. Each thread reads its own file, or all threads share one."""
    # With the option fadvise_hint, fio would double the kernel's readahead or switch readahead
    # off. Ordinary programs rarely do this.
    shared = [
        "fio",
        "--output-format=json",
        "--group_reporting",
        "--thread",
        "--readonly",
        "--allow_file_create=0",
        "--invalidate=0",
        "--fadvise_hint=0",
        f"--bs={task.block_bytes}",
        f"--ioengine={'mmap' if task.kind is Kind.MAPPED else 'psync'}",
        f"--randseed={task.seed}",
    ]
    if task.kind is Kind.RANDOM:
        shared += ["--rw=randread", "--norandommap", "--time_based", f"--runtime={task.seconds:g}"]
    else:
        shared += ["--rw=read"]
    for name in task.names:
        shared += [f"--name={name.replace('/', '-')}", f"--filename={folder / name}"]
        threads = task.threads // len(task.names)
        shared += [f"--numjobs={threads}"]
        share = task.size_bytes if task.kind is Kind.RANDOM else task.size_bytes // threads
        shared += [f"--size={share}"]
        if threads > 1 and task.kind is not Kind.RANDOM:
            shared += [f"--offset_increment={share}"]
    return shared


def parse(answer: str | bytes) -> Outcome:
    """Return the outcome of a run from the output of fio.

    Raises:
        ValueError: fio failed or printed no JSON.
    """
    text = answer if isinstance(answer, str) else answer.decode()
    # fio may print a note, for example about clocks, before the JSON.
    found: _Answer = json.loads(text[text.index("{") :])
    (job, *others) = found["jobs"]
    if others or job["error"]:
        raise ValueError(f"fio reports {len(others) + 1} groups (expected 1), error {job['error']}")
    reads = job["read"]
    percentile = reads["clat_ns"].get("percentile", {})
    latencies = {
        short: percentile[name] / _NANOSECONDS
        for name, short in _SHOWN.items()
        if name in percentile
    }
    return Outcome(reads["runtime"] / 1000, reads["io_bytes"], reads["total_ios"], latencies)
