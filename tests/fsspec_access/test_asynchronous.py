"""The asynchronous form: coroutines in the program's own event loop."""

from __future__ import annotations

import asyncio
import random
from typing import TYPE_CHECKING

import pytest
from fsspec.callbacks import Callback

from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess

CONTENT = random.Random(5).randbytes(5 * MIB)


def asynchronous(emulator: EmulatorProcess) -> GcsmuxFileSystem:
    return GcsmuxFileSystem(
        endpoint=emulator.endpoint, plaintext=True, anonymous=True, asynchronous=True
    )


def test_coroutines_run_in_the_loop_of_the_program(emulator: EmulatorProcess, root: str) -> None:
    emulator.place("file", CONTENT)
    emulator.place("folder/below", b"below")

    async def program() -> None:
        fs = asynchronous(emulator)
        contents = await asyncio.gather(
            *(fs._cat_file(f"{root}/file", start, start + 1000) for start in range(0, MIB, 9000))
        )
        assert contents == [CONTENT[start : start + 1000] for start in range(0, MIB, 9000)]
        assert await fs._cat_ranges([f"{root}/file"] * 2, [0, -3], [3, None]) == [
            CONTENT[:3],
            CONTENT[-3:],
        ]
        assert [each["name"] for each in await fs._ls(root)] == [f"{root}/file", f"{root}/folder"]
        assert await fs._find(root) == [f"{root}/file", f"{root}/folder/below"]
        assert await fs._glob(f"{root}/f*/*") == [f"{root}/folder/below"]
        assert await fs._isdir(f"{root}/folder")
        with pytest.raises(FileNotFoundError):
            await fs._info(f"{root}/absent")

    asyncio.run(program())


def test_a_file_is_read_by_coroutines(emulator: EmulatorProcess, root: str) -> None:
    emulator.place("file", CONTENT)

    async def program() -> None:
        fs = asynchronous(emulator)
        async with await fs.open_async(f"{root}/file", "rb") as file:
            assert await file.read(10) == CONTENT[:10]
            file.seek(MIB)
            assert await file.read() == CONTENT[MIB:]
            assert await file.read(5) == b""
            assert file.size == len(CONTENT)
        with pytest.raises(ValueError, match="closed"):
            await file.read(1)
        with pytest.raises(OSError, match="read-only"):
            await fs.open_async(f"{root}/file", "wb")

    asyncio.run(program())


def test_a_cancelled_coroutine_ends_its_requests(emulator: EmulatorProcess, root: str) -> None:
    emulator.place("file", CONTENT)

    async def program() -> None:
        fs = asynchronous(emulator)
        await fs._info(f"{root}/file")
        with emulator.stopped(), pytest.raises(asyncio.TimeoutError):
            await asyncio.wait_for(fs._cat_file(f"{root}/file"), 0.2)
        assert await fs._cat_file(f"{root}/file") == CONTENT

    asyncio.run(program())


def test_get_copies_files_and_folders(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str, tmp_path: Path
) -> None:
    files = {"file": CONTENT * 2, "folder/empty": b"", "folder/sub/small": b"small"}
    for name, content in files.items():
        emulator.place(name, content)
    fs.get(f"{root}/", tmp_path / "copy", recursive=True)
    copied = {
        str(path.relative_to(tmp_path / "copy")): path.read_bytes()
        for path in (tmp_path / "copy").rglob("*")
        if path.is_file()
    }
    assert copied == files
    with pytest.raises(FileNotFoundError):
        fs.get_file(f"{root}/absent", tmp_path / "absent")
    assert not (tmp_path / "absent").exists()


def test_a_copy_that_fails_leaves_no_file(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str, tmp_path: Path
) -> None:
    class Interruption(Callback):  # type: ignore[misc]
        def relative_update(self, increment: int = 1) -> None:
            assert (tmp_path / "copy").stat().st_size == increment
            raise InterruptedError

    emulator.place("file", CONTENT * 4)
    with pytest.raises(InterruptedError):
        fs.get_file(f"{root}/file", tmp_path / "copy", callback=Interruption())
    assert not (tmp_path / "copy").exists()
