"""Functions that read the state, files and threads of processes from /proc, and that set limits."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.open_files import open_files

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Held", "descendants_in_state_d", "held", "memory_limit", "set_most_files"]

_UNINTERRUPTIBLE = "D"
_CGROUPS = Path("/sys/fs/cgroup")


@dataclass(frozen=True, slots=True)
class Held:
    """How many open files (sockets not counted), sockets and threads a process has."""

    files: int
    sockets: int
    threads: int


def held(process: int) -> Held:
    """Return how many files, sockets and threads a process has now."""
    links = open_files(process)
    sockets = sum(link.startswith("socket:") for link in links)
    threads = len(list(Path(f"/proc/{process}/task").iterdir()))
    return Held(len(links) - sockets, sockets, threads)


def descendants_in_state_d() -> list[str]:
    """Return the descendants of this process that are in state D.

    No signal can end a process in this state.
    """
    parents: dict[int, int] = {}
    waiting: dict[int, str] = {}
    for entry in Path("/proc").iterdir():
        if not entry.name.isdecimal():
            continue
        try:
            text = (entry / "stat").read_text()
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, _, rest = text.partition("(")[2].rpartition(")")
        state, parent = rest.split()[:2]
        parents[int(entry.name)] = int(parent)
        if state == _UNINTERRUPTIBLE:
            waiting[int(entry.name)] = name
    return [
        f"{number} ({name})" for number, name in waiting.items() if _is_descendant(number, parents)
    ]


def _is_descendant(number: int, parents: dict[int, int]) -> bool:
    while number in parents:
        if number == os.getpid():
            return True
        number = parents[number]
    return False


def set_most_files(process: int, count: int | str) -> None:
    """Set the soft limit on a process's open files. Files that are already open stay open."""
    subprocess.run(["prlimit", f"--pid={process}", f"--nofile={count}:"], check=True)


@contextmanager
def memory_limit(process: int, more_bytes: int) -> Iterator[None]:
    """Allow a process `more_bytes` of additional memory. If it needs more, the kernel kills it.

    If no control group can be created, the test is skipped.
    """
    for parent, limit in (
        (_CGROUPS / "memory", "memory.limit_in_bytes"),
        (_CGROUPS, "memory.max"),
    ):
        group = parent / f"gcsmux-test-{os.getpid()}"
        try:
            group.mkdir()
        except OSError:
            continue
        if (group / limit).exists():
            break
        group.rmdir()
    else:
        pytest.skip("this machine allows no new memory control group")
    try:
        # Memory that the process has already allocated does not count, because it stays charged to
        # the old control group.
        (group / "cgroup.procs").write_text(str(process))
        (group / limit).write_text(str(more_bytes))
        yield
    finally:
        for left in (group / "cgroup.procs").read_text().split():
            (parent / "cgroup.procs").write_text(left)
        group.rmdir()
