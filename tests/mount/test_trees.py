"""A mount shows all objects of its bucket with the right names, bytes and times."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.support import programs
from tests.support.harness import EmulatorProcess, MountProcess, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import NewMount

pytestmark = pytest.mark.mount

# Names that programs often treat wrongly: with spaces, quotes, newlines, leading dashes, wildcards,
# non-ASCII and combining characters, and names of the maximum length.
ODD_NAMES = [
    "with spaces in it",
    " leading and trailing ",
    "two\nlines",
    "tab\tand \\ backslash",
    "quotes ' \" `",
    "-rf",
    "*?[a]{b}$HOME",
    "%25~",
    ".hidden",
    "grüße",
    "e\u0301",
    "世界 🌍",
    "x" * 255,
    "ü" * 127,
]


def make_tree(folder: Path, seed: int) -> None:
    """Write files of many sizes into a random tree of folders."""
    source = random.Random(seed)
    folders = [folder]
    names = iter(ODD_NAMES)
    for number in range(60):
        parent = source.choice(folders)
        name = next(names, f"name-{number}")
        if number % 3 == 2:
            folders.append(parent / f"folder {number}")
            folders[-1].mkdir()
            # Put a file into each folder, because a folder without objects does not exist in a flat
            # bucket.
            (folders[-1] / "content").touch()
        (parent / name).write_bytes(
            source.randbytes(source.choice([0, 1, 4095, 4096, 4097, 70_000, 1_500_000]))
        )
        # Give the file an old time with a fraction of a second, which the mount must show.
        mtime_ns = source.randrange(10**18, 17 * 10**17)
        os.utime(parent / name, ns=(mtime_ns, mtime_ns))
    deep = folder.joinpath(*(f"level-{number}" for number in range(40)))
    deep.mkdir(parents=True)
    (deep / "bottom").write_bytes(b"deep\n")
    (folder / "large").write_bytes(source.randbytes(9_000_001))


@pytest.mark.parametrize("seed", [1, 2])
def test_a_random_tree_is_the_same_through_the_mount(
    emulator: EmulatorProcess, mount: NewMount, seed: int
) -> None:
    make_tree(emulator.bucket, seed)
    expected = programs.tree(str(emulator.bucket))
    with mount() as mounted, mounted.program() as program:
        assert expected == program.call(programs.tree, str(mounted.path))
        # The second walk reads the names and pages in the kernel's caches.
        assert expected == program.call(programs.tree, str(mounted.path))


def test_a_hierarchical_bucket_shows_empty_folders(folder: Path) -> None:
    with EmulatorProcess(folder / "buckets", ["--location-type", "zone"]) as emulator:
        (emulator.bucket / "full").mkdir()
        (emulator.bucket / "full" / "file").write_bytes(b"content")
        (emulator.bucket / "empty" / "nested empty").mkdir(parents=True)
        expected = programs.tree(str(emulator.bucket))
        with MountProcess(emulator, folder) as mounted, mounted.program() as program:
            assert expected == program.call(programs.tree, str(mounted.path))
            assert program.call(os.listdir, f"{mounted.path}/empty") == ["nested empty"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make the kernel forget inodes")
def test_the_mount_frees_inodes_that_the_kernel_forgets(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for number in range(500):
        emulator.place(f"folder/file-{number}", b"content")
    with mount() as mounted:
        assert mounted.run("ls", "-lR").returncode == 0
        assert mounted.statistics()["inodes"] == 502
        mounted.drop_inodes()
        wait_until(lambda: mounted.statistics()["inodes"] == 1, "only the root inode is left")
        assert mounted.run("cat", "folder/file-1").stdout == b"content"
