"""Tests of the end of the main loop. A fake replaces pyfuse3.main, because the error with which
pyfuse3.main ends depends on a race."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

import pyfuse3
import pytest

from gcsmux_fs.fuse import main_loop, mountinfo
from gcsmux_fs.fuse.mountinfo import FSTYPE, MountEntry

if TYPE_CHECKING:
    from pathlib import Path


def end_with(monkeypatch: pytest.MonkeyPatch, number: int, path: Path) -> None:
    """Make pyfuse3.main raise an OSError with errno `number` while `path` is being unmounted."""
    table = (MountEntry(2, 1, 0, 40, "/", str(path), FSTYPE, "gs://bucket"),)
    tables = iter([table, ()])

    async def main(**_: int) -> None:
        raise ExceptionGroup("nursery", [OSError(number, "receiving failed")])

    monkeypatch.setattr(pyfuse3, "main", main)
    monkeypatch.setattr(mountinfo, "mount_table", lambda: next(tables))
    monkeypatch.setattr(main_loop, "mount_table", lambda: next(tables))


async def test_a_request_withdrawn_by_an_unmount_ends_the_loop_without_an_error(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    end_with(monkeypatch, errno.ECONNABORTED, tmp_path)
    await main_loop.answer_requests(tmp_path)


async def test_another_failure_of_the_loop_is_raised_unchanged(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    end_with(monkeypatch, errno.EBADF, tmp_path)
    with pytest.raises(ExceptionGroup) as raised:
        await main_loop.answer_requests(tmp_path)
    assert raised.group_contains(OSError, match="receiving failed")
