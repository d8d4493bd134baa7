"""Tests that a mount that is killed at any moment leaves a cache that works.

A forked process runs up to each operation on its files, and ends there without any cleanup. In
another test, a real process is killed by SIGKILL again and again, while a second mount of the same
cache goes on.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

import pytest

from tests.support.sizes import KIB

from .killed_writer import KILLED, OBJECTS
from .mounts import Clock, MountedCache, chunk_bytes
from .objects import check_reads

if TYPE_CHECKING:
    from collections.abc import Iterator

SIZE_BYTES = 336 * KIB
MOST_BYTES = SIZE_BYTES * 105 // 100
ROOT = Path(__file__).parents[3]


def check_cache(root: Path) -> None:
    """Start as the next mount does: read, repair, write."""
    with MountedCache(root, SIZE_BYTES, Clock()) as mounted:
        for each in OBJECTS:
            check_reads(mounted.store, each)
        mounted.keep_house(2)
        assert mounted.account.usage().net_bytes == chunk_bytes(root)
        for each in OBJECTS:
            mounted.write_all(each)
            mounted.keep_house(0.3)
            assert chunk_bytes(root) <= MOST_BYTES
        mounted.keep_house(12, idle_seconds=3)
        mounted.write_all(OBJECTS[-1])
        assert check_reads(mounted.store, OBJECTS[-1]) == OBJECTS[-1].size


@pytest.fixture
def forker() -> Iterator[subprocess.Popen[str]]:
    """A process that runs the writer in forked children: `ROOT KILL_AT` in, exit code out."""
    with subprocess.Popen(
        [sys.executable, "-m", "tests.caching.crashes.forked_writers", str(SIZE_BYTES)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        yield process
        process.kill()


@pytest.mark.slow
def test_operations_of_the_start_and_later_ones(
    memory_path: Path, forker: subprocess.Popen[str]
) -> None:
    assert forker.stdin is not None
    assert forker.stdout is not None
    kill_at = 0
    exit_code = KILLED
    while exit_code == KILLED:
        # Every second operation of the start, then one of 37.
        kill_at += 2 if kill_at < 40 else 37
        root = memory_path / str(kill_at)
        forker.stdin.write(f"{root} {kill_at}\n")
        forker.stdin.flush()
        exit_code = int(forker.stdout.readline())
        check_cache(root)
    assert exit_code == 0
    assert kill_at > 100


@pytest.mark.slow
def test_a_killed_process_beside_another_mount(memory_path: Path) -> None:
    root = memory_path / "cache"
    random = Random(13)
    clock = Clock()
    with MountedCache(root, SIZE_BYTES, clock) as survivor:
        for _ in range(4):
            with subprocess.Popen(
                [
                    *(sys.executable, "-m", "tests.caching.crashes.killed_writer"),
                    *(str(root), str(SIZE_BYTES), "0"),
                ],
                cwd=ROOT,
                env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
            ) as process:
                try:
                    until = time.monotonic() + 0.6 + random.random() / 2
                    while time.monotonic() < until:
                        each = random.choice(OBJECTS)
                        check_reads(survivor.store, each, alone=False)
                        survivor.write_all(each)
                        survivor.keep_house(0.1)
                        assert chunk_bytes(root) <= MOST_BYTES
                finally:
                    process.kill()
            survivor.keep_house(5)
            assert chunk_bytes(root) <= MOST_BYTES
    check_cache(root)
