"""Tests that several processes which write to one cache directory bound its size together."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.caching.usage_file import read_usage
from tests.caching.cleaning import MIB, OneMount

if TYPE_CHECKING:
    from collections.abc import Iterator

_SIZE = 64 * MIB
_SAMPLES = 12
_ROOT = Path(__file__).parents[2]


@contextlib.contextmanager
def _writer(directory: Path, seed: int) -> Iterator[subprocess.Popen[bytes]]:
    arguments = [str(directory), str(_SIZE), str(seed)]
    command = [sys.executable, "-m", "tests.caching.writing_mount", *arguments]
    with subprocess.Popen(command, cwd=_ROOT) as process:
        try:
            yield process
        finally:
            process.kill()


@contextlib.contextmanager
def _stopped(processes: list[subprocess.Popen[bytes]]) -> Iterator[None]:
    """Stop processes during the block, so that files do not change while they are counted."""
    for process in processes:
        process.send_signal(signal.SIGSTOP)
    try:
        yield
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)


@pytest.mark.slow
def test_processes_bound_the_size_together_while_one_is_stopped_and_one_killed(
    tmp_path: Path,
) -> None:
    (tmp_path / "chunks").mkdir()
    watch = OneMount(tmp_path, size_bytes=_SIZE)
    used = []
    with contextlib.ExitStack() as stack:
        writers = [stack.enter_context(_writer(tmp_path, seed)) for seed in range(3)]
        while watch.disk_bytes() < _SIZE // 2:
            assert all(writer.poll() is None for writer in writers)
            time.sleep(0.02)
        for sample in range(_SAMPLES):
            time.sleep(0.1)
            if sample == _SAMPLES // 3:
                writers[0].send_signal(signal.SIGSTOP)
            if sample == 2 * _SAMPLES // 3:
                writers[1].kill()
            with _stopped(writers[1:]):
                used.append(watch.disk_bytes())
        evicted = read_usage(watch.files).evictions
    assert max(used) <= 1.05 * _SIZE
    assert evicted
    # Whatever the killed processes have left, the next mount has right figures within seconds.
    watch.clock.now = time.time()
    watch.clean_for(5)
    assert watch.account.usage().net_bytes == watch.disk_bytes()
    assert watch.account.usage().used_bytes <= _SIZE
    watch.close()
