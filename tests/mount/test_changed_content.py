"""Content of objects that change, in a mount with `--changes`, `--only-dir` and `--cache-dir`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import wait_until
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = pytest.mark.mount

_SIZE = MIB
_TTL = ("--metadata-ttl", "1h", "--negative-ttl", "1h")


def test_an_open_file_keeps_its_generation_and_the_disk_forgets_it(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    for name in ("team/changed", "team/deleted", "team/folder/kept"):
        emulator.write(name, programs.tagged(1, 0, _SIZE))
    options = ("--only-dir", "team", "--cache-dir", str(folder / "cache"), *_TTL)
    with mount("--changes", emulator.subscribe(), *options) as mounted:
        wait_until(lambda: "feed of changes: healthy" in mounted.log, "the feed is healthy")
        with mounted.program() as program:
            _change_open_files(emulator, mounted, program)
        assert mounted.statistics()["changes_elsewhere"] == 1
        # The old generations are no longer open. The cache keeps two of the four large files.
        wait_until(
            lambda: _kept_bytes(folder / "cache") < 3 * _SIZE,
            "the disk forgets the old generations",
        )


def _kept_bytes(cache: Path) -> int:
    return sum(chunk.stat().st_size for chunk in cache.rglob("chunks/*/*"))


def _change_open_files(emulator: EmulatorProcess, mounted: MountProcess, program: Program) -> None:
    paths = [f"{mounted.path}/{name}" for name in ("changed", "deleted", "folder/kept")]
    for path in paths:
        assert program.call(programs.read_tags, path, 0, _SIZE) == {1}
    wait_until(
        lambda: mounted.statistics()["disk_cache_written_bytes"] >= 3 * _SIZE,
        "the cache keeps the content",
    )
    assert mounted.run("stat", "absent").returncode == 1

    emulator.write("team/changed", programs.tagged(2, 0, _SIZE))
    emulator.write("team/absent", b"new")
    emulator.write("changed", b"outside of the mounted folder")
    emulator.delete("team/deleted")
    with mounted.program() as other:
        wait_until(
            lambda: other.call(programs.read_whole, paths[0]) == programs.tagged(2, 0, _SIZE),
            "the new content shows",
        )
        assert other.call(programs.read_whole, f"{mounted.path}/absent") == b"new"
        wait_until(lambda: mounted.run("stat", "deleted").returncode == 1, "the file is gone")
    # These descriptors were opened before the changes.
    for path in paths:
        assert program.call(programs.read_tags, path, 0, _SIZE) == {1}
