"""Callers who may list or read only a part of a bucket: cold, after `ls` and after the TTL."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode

from . import programs
from .refused import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from .harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = pytest.mark.mount

TTL_SECONDS = 0.3
OPTIONS = ("--metadata-ttl", "300ms", "--negative-ttl", "300ms")
READS = "*ReadObject"
REFUSED = ["EACCES", "refuses to list"]


def refused(method: str, name: str, code: StatusCode = StatusCode.PERMISSION_DENIED) -> Rule:
    return Rule(Status(code), method=method, object=name, times=FOR_EVER)


def outcome(program: Program, path: str) -> bytes | int:
    """Return what `cat` shows, or the errno."""
    try:
        return program.call(programs.read_whole, path)
    except OSError as error:
        return error.errno or 0


def outcomes(mounted: MountProcess, names: dict[str, bytes | int]) -> None:
    """Check what `cat` shows of names: cold, after `ls -lR`, after the TTL, and cold again."""
    path = str(mounted.path)
    with mounted.program() as program:
        for moment in ("cold", "listed", "late"):
            if moment == "listed":
                mounted.run("ls", "-lR", ".")
            if moment == "late":
                time.sleep(TTL_SECONDS + 0.1)
            found = {name: outcome(program, f"{path}/{name}") for name in names}
            assert found == names, moment


def test_reading_is_allowed_below_a_folder_and_listing_everywhere(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in ("team/x", "team/deep/y", "other/z", "secret"):
        emulator.place(name, name.encode())
    emulator.order(
        *(
            refused(method, name)
            for method in ("GetObject", READS)
            for name in ("team", "other*", "secret", "absent")
        )
    )
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        outcomes(
            mounted,
            {
                "team/x": b"team/x",
                "team/deep/y": b"team/deep/y",
                "team": errno.EISDIR,
                "team/absent": errno.ENOENT,
                "other/z": errno.EACCES,
                "secret": errno.EACCES,
                "absent": errno.ENOENT,
            },
        )
        with mounted.program() as program:
            assert program.call(os.stat, f"{mounted.path}/secret").st_size == len("secret")


@pytest.mark.parametrize("absent", [StatusCode.NOT_FOUND, StatusCode.PERMISSION_DENIED])
def test_reading_is_allowed_and_no_listing(
    emulator: EmulatorProcess, mount: NewMount, absent: StatusCode
) -> None:
    for name in ("x", "dir/x", "dir/deep/y"):
        emulator.place(name, name.encode())
    # The service does not tell a caller who may not list that an object is absent.
    silent = [
        refused("GetObject", name, absent) for name in ("dir", "dir/deep", "absent", "dir/absent")
    ]
    emulator.order(refused("ListObjects", "*"), refused("GetStorageLayout", "*"), *silent)
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        outcomes(
            mounted,
            {
                "x": b"x",
                "dir/x": b"dir/x",
                "dir/deep/y": b"dir/deep/y",
                "x/y": errno.ENOTDIR,
                "dir": errno.EACCES,
                "absent": errno.EACCES,
                "dir/absent": errno.EACCES,
            },
        )
        for folder in (".", "dir"):
            listed = mounted.run("ls", folder)
            assert (listed.returncode, b"Permission denied" in listed.stderr) == (2, True)
        if absent is StatusCode.NOT_FOUND:
            emulator.mend()
            outcomes(mounted, {"dir/x": b"dir/x", "absent": errno.ENOENT, "dir": errno.EISDIR})


def test_listings_that_are_refused_after_the_start_hide_no_object(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("dir/x", b"content")
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        emulator.order(refused("ListObjects", "*"))
        outcomes(mounted, {"dir/x": b"content", "absent": errno.EACCES})


def test_one_folder_may_be_listed_and_read(emulator: EmulatorProcess, mount: NewMount) -> None:
    for name in ("team/x", "team/deep/y", "other/z"):
        emulator.place(name, name.encode())
    rules = [
        refused("ListObjects", ""),
        refused("GetStorageLayout", "*"),
        *(
            refused(method, name)
            for method in ("GetObject", "ListObjects", READS)
            for name in ("team", "other*", "absent*")
        ),
    ]
    emulator.order(*rules)
    expected: dict[str, bytes | int] = {"x": b"team/x", "deep/y": b"team/deep/y"}
    with mount("--only-dir", "team", *OPTIONS) as mounted:
        outcomes(mounted, expected | {"absent": errno.ENOENT, "deep": errno.EISDIR})
        assert mounted.run("ls", ".", "deep").stdout == b".:\ndeep\nx\n\ndeep:\ny\n"
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        below: dict[str, bytes | int] = {f"team/{name}": what for name, what in expected.items()}
        outcomes(mounted, below | {"team/absent": errno.ENOENT, "other/z": errno.EACCES})
        assert mounted.run("ls", "team").stdout == b"deep\nx\n"


def test_who_may_neither_list_nor_read_is_told_at_once(
    emulator: EmulatorProcess, folder: Path
) -> None:
    emulator.order(refused("*", "*"))
    service = {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint}
    for options in ((), ("--only-dir", "team")):
        told = refusal(folder, *options, **service)
        assert told.startswith("no permission to read gs://my-bucket (")
        assert told.endswith("or for a folder that --only-dir names.")
