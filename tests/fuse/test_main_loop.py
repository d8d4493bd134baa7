"""How the loop that answers the kernel ends; pyfuse3's own is replaced, for the sake of a race."""

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
    """Have pyfuse3 end as its tasks do, with this errno, because `path` is being unmounted."""
    table = (MountEntry(2, 1, 0, 40, "/", str(path), FSTYPE, "gs://bucket"),)
    tables = iter([table, ()])

    async def main(**_: int) -> None:
        raise ExceptionGroup("nursery", [OSError(number, "receiving failed")])

    monkeypatch.setattr(pyfuse3, "main", main)
    monkeypatch.setattr(mountinfo, "mount_table", lambda: next(tables))
    monkeypatch.setattr(main_loop, "mount_table", lambda: next(tables))


async def test_a_request_taken_back_by_the_unmount_is_an_ordinary_end(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    end_with(monkeypatch, errno.ECONNABORTED, tmp_path)
    await main_loop.answer_requests(tmp_path)


async def test_any_other_failure_is_told_as_it_is(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    end_with(monkeypatch, errno.EBADF, tmp_path)
    with pytest.raises(ExceptionGroup) as raised:
        await main_loop.answer_requests(tmp_path)
    assert raised.group_contains(OSError, match="receiving failed")
