"""Every object has a path, whatever its name is, and this path does not change."""

from __future__ import annotations

import os
import random
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount

# The path of each object name, as docs/NAMES.md shows them.
PATHS = {
    "plain": "plain",
    "folder/plain": "folder/plain",
    "both": "%file~both",
    "both/inside": "both/inside",
    "marker/": "marker/%content~",
    "marker/inside": "marker/inside",
    "lonely/": "lonely/%content~",
    "a//b": "a/%~/b",
    "a///b": "a/%~/%~/b",
    "/leading": "%~/leading",
    "//": "%~/%~/%content~",
    ".": "%file~.",
    "./here": "%~./here",
    "..": "%~..",
    "dots/.": "dots/%~.",
    "dots/../up": "dots/%~../up",
    "...": "...",
    "x" * 255: "x" * 255,
    "y" * 256: f"%part~{'y' * 249}/yyyyyyy",
    f"deep/{'z' * 600}/end": f"deep/%part~{'z' * 249}/%part~{'z' * 249}/{'z' * 102}/end",
    "%~": "%~%25~",
    "%file~both": "%~%25file~both",
    "%part~": "%~%25part~",
    "50%": "50%",
    "50%~": "50%~",
    "two\nlines": "two\nlines",
}
# Further object names. The test finds their paths in a listing, reads them, and finds them again.
OTHERS = [
    "/",
    "///",
    "a/",
    "a/b/",
    "both/",
    "other/./",
    "/../../etc/passwd",
    "%content~",
    "%content~/x",
    "lonely/%content~",
    "%x~/%~/",
    "ü" * 300,
    "🌍" * 250,
    "%" * 500,
    "w/" * 500,
    "q" * 1024,
    "y" * 300 + "/" + "y" * 300,
    "y" * 300,
    "tab\tand \\",
]


def content_of(name: str) -> bytes:
    return f"this is {name!r}".encode()


def write_all(emulator: EmulatorProcess) -> dict[bytes, str]:
    """Write all objects in a shuffled order; return the names of the objects by content."""
    names = [*PATHS, *OTHERS]
    random.Random(7).shuffle(names)
    for name in names:
        emulator.write(name, content_of(name))
    return {content_of(name): name for name in names}


def test_a_walk_finds_all_objects_and_a_new_mount_finds_their_paths(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = write_all(emulator)
    with mount() as mounted, mounted.program() as program:
        root = bytes(mounted.path)
        paths = sorted(
            path
            for path, entry in program.call(programs.tree, str(mounted.path)).items()
            if entry != programs.Entry()
        )
        name_of_path = {
            path: names[program.call(programs.read_whole, root + b"/" + path)] for path in paths
        }
    assert sorted(names.values()) == sorted(name_of_path.values())
    with mount() as fresh, fresh.program() as program:
        root = bytes(fresh.path)
        random.Random(8).shuffle(paths)
        for path in paths:
            content = program.call(programs.read_whole, root + b"/" + path)
            assert content_of(name_of_path[path]) == content


@pytest.mark.parametrize("ttl", ["60s", "0"])
def test_objects_have_their_documented_paths(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    write_all(emulator)
    options = ["--metadata-ttl", ttl, "--negative-ttl", ttl]
    with mount(*options) as mounted, mounted.program() as program:
        for name, path in PATHS.items():
            content = program.call(programs.read_whole, f"{mounted.path}/{path}")
            assert content_of(name) == content


def test_other_spellings_of_a_path_do_not_exist(emulator: EmulatorProcess, mount: NewMount) -> None:
    write_all(emulator)
    wrong = [
        "%~plain",
        "%file~plain",
        "%file~absent",
        "%other~plain",
        "%part~plain",
        "folder/%content~",
        "%content~/plain",
        f"%part~{'y' * 248}/yyyyyyyy",
        "%~%7E",
        "plain/below",
        "nowhere/at/all",
    ]
    with mount() as mounted, mounted.program() as program:
        for path in wrong:
            with pytest.raises((FileNotFoundError, NotADirectoryError)):
                program.call(os.stat, f"{mounted.path}/{path}")
        with pytest.raises(OSError, match="File name too long"):
            program.call(os.stat, f"{mounted.path}/{'x' * 256}")


def test_a_placeholder_object_is_a_folder_with_attributes(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.write("folder/", b"")
    with mount() as mounted, mounted.program() as program:
        assert program.call(os.listdir, str(mounted.path)) == ["folder"]
        assert program.call(os.listdir, f"{mounted.path}/folder") == []
        assert program.call(os.listxattr, f"{mounted.path}/folder")
