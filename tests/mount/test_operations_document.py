"""The commands and configurations in docs/OPERATIONS.md work as the document says.

`scripts/bootstrap operations` installs the programs that the tests need.
"""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.mount.operations import BLOCKS, block, moved, needs, needs_root
from tests.support import programs
from tests.support.harness import END_SECONDS
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount


def test_the_document_has_the_blocks_that_these_tests_run() -> None:
    assert [language for language, _ in BLOCKS] == (
        ["sh", "logrotate", "sh", "python", "smbconf", "ganesha", "ini"]
    )


# -- updatedb and logrotate


@needs("updatedb", "locate")
def test_updatedb_skips_a_mount(emulator: EmulatorProcess, mount: NewMount, folder: Path) -> None:
    emulator.place("findable", b"content")
    configuration, names = folder / "updatedb.conf", folder / "names"

    def names_in_database(mounted: MountProcess) -> bytes:
        (types,) = re.findall(r'^PRUNEFS="(.*)"', configuration.read_text(), re.MULTILINE)
        command: list[str | Path] = [
            "updatedb",
            "-l",
            "no",
            "-U",
            folder,
            "-o",
            names,
            "--prunepaths",
            "",
        ]
        done = mounted.run_beside(*command, "--prunefs", types)
        assert done.returncode == 0
        return mounted.run_beside("locate", "-d", names, "findable").stdout

    with mount() as mounted:
        configuration.write_text('PRUNE_BIND_MOUNTS="yes"\nPRUNEFS="NFS afs proc"\n')
        assert os.fsencode(mounted.path / "findable") in names_in_database(mounted).splitlines()
        command = moved(block("sh", "PRUNEFS"), {"/etc/updatedb.conf": configuration})
        subprocess.run(["sh", "-ec", command], timeout=END_SECONDS, check=True)
        assert os.fsencode(mounted.path) not in names_in_database(mounted)


@needs("logrotate")
def test_the_log_is_rotated(emulator: EmulatorProcess, mount: NewMount, folder: Path) -> None:
    with mount() as mounted:
        configuration = folder / "logrotate.conf"
        configuration.write_text(
            block("logrotate").replace("/var/log/gcsmux/*.log", str(mounted.log_file))
        )
        rotate: list[str | Path] = [
            "logrotate",
            "--force",
            "--state",
            folder / "state",
            configuration,
        ]
        lines = []
        for _ in range(3):
            mounted.statistics()
            lines.append(mounted.log.splitlines()[-1])
            assert mounted.log_file.stat().st_mode & 0o777 == 0o600
            subprocess.run(rotate, timeout=END_SECONDS, check=True)
        log = mounted.log_file
        rotated = [gzip.decompress(Path(f"{log}.{number}.gz").read_bytes()) for number in (3, 2)]
        rotated.append(Path(f"{log}.1").read_bytes())
        assert [text.decode().splitlines()[-1] for text in rotated] == lines


# -- copies


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """Mount an ext4 file system with blocks of 4 KiB.

    The extended attributes of one file must fit into one block.
    """
    image, disk = folder / "disk.img", folder / "disk"
    disk.mkdir()
    with image.open("wb") as file:
        file.truncate(16 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-b", "4096", image], timeout=END_SECONDS, check=True)
    subprocess.run(["mount", "-o", "loop", image, disk], timeout=END_SECONDS, check=True)
    try:
        yield disk
    finally:
        subprocess.run(["umount", disk], timeout=END_SECONDS, check=True)


@needs_root
@needs("mkfs.ext4")
def test_copies_to_a_disk_without_room_for_the_attributes(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    emulator.place("folder/plain", b"plain")
    emulator.write("much", b"much", metadata={f"key-{n}": "x" * 1000 for n in range(7)})
    with small_disk(folder) as disk, mount() as mounted:

        def code(*command: str | Path) -> tuple[int, bool]:
            """Run a copy command; return the exit code and whether stderr names a full disk."""
            done = mounted.run(*command)
            return done.returncode, b"No space left on device" in done.stderr

        copy = "import shutil, sys; shutil.{}('much', sys.argv[1])"
        failing = (1, True)
        assert code(sys.executable, "-c", copy.format("copy2"), disk / "0") == failing
        assert code("cp", "--preserve=xattr", "much", disk / "1") == failing
        assert code("rsync", "-aX", "much", disk / "2") == (23, True)
        assert code("cp", "-a", "much", disk / "3") == (0, False)
        tar = f"tar --xattrs -cf - much | tar --xattrs --xattrs-include='*' -xf - -C {disk}"
        assert code("sh", "-c", tar) == (0, True)
        for number, command in enumerate(("cp -p", "rsync -a", "install -p"), start=4):
            assert code(*command.split(), "much", disk / str(number)) == (0, False)
            assert os.listxattr(disk / str(number)) == []
        assert code(sys.executable, "-c", copy.format("copy"), disk / "7") == (0, False)
        # Each command has copied the content, even if it reported an error.
        names = ["much", *map(str, range(8))]
        assert {(disk / name).read_bytes() for name in names} == {b"much"}
        for name in names:
            (disk / name).unlink()

        moves = {"/mnt/data": mounted.path, "/srv": disk}
        assert code("sh", "-ec", moved(block("sh", "rsync"), moves)) == (0, False)
        assert code(sys.executable, "-c", moved(block("python"), moves)) == (0, False)
        with mounted.program() as program:
            expected = program.call(programs.tree, str(mounted.path))
        for way in ("by-rsync", "by-cp", "by-python"):
            assert programs.tree(str(disk / way)) == expected
            assert os.listxattr(disk / way / "much") == []
