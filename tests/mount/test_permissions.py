"""Tests of callers that may list or read only a part of a bucket."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.mount.refused import refusal
from tests.support import programs

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount, Program

pytestmark = pytest.mark.mount

TTL_SECONDS = 0.3
OPTIONS = ("--metadata-ttl", "300ms", "--negative-ttl", "300ms")
READS = "*ReadObject"
REFUSED = ["EACCES", "refuses to list"]


def refused(method: str, name: str, code: StatusCode = StatusCode.PERMISSION_DENIED) -> Rule:
    return Rule(Status(code), method=method, object=name, times=FOR_EVER)


def outcome(program: Program, path: str) -> bytes | int:
    """Read a file; return its content or the errno."""
    try:
        return program.call(programs.read_whole, path)
    except OSError as error:
        return error.errno or 0


def check_outcomes(mounted: MountProcess, names: dict[str, bytes | int]) -> None:
    """Check for each name that a read returns the expected content or errno.

    Read with an empty cache, again after `ls -lR`, and again after the TTL.
    """
    path = str(mounted.path)
    with mounted.program() as program:
        for moment in ("cold", "listed", "late"):
            if moment == "listed":
                mounted.run("ls", "-lR", ".")
            if moment == "late":
                time.sleep(TTL_SECONDS + 0.1)
            results = {name: outcome(program, f"{path}/{name}") for name in names}
            assert results == names, moment


def test_read_permission_below_one_folder_and_list_permission_everywhere(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in ("team/x", "team/deep/y", "other/z", "secret"):
        emulator.place(name, name.encode())
    emulator.inject(
        *(
            refused(method, name)
            for method in ("GetObject", READS)
            for name in ("team", "other*", "secret", "absent")
        )
    )
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        check_outcomes(
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
def test_read_permission_without_list_permission(
    emulator: EmulatorProcess, mount: NewMount, absent: StatusCode
) -> None:
    for name in ("x", "dir/x", "dir/deep/y"):
        emulator.place(name, name.encode())
    # The two answers of the service for an object that does not exist: NOT_FOUND, and
    # PERMISSION_DENIED, which a caller without permission to list gets.
    silent = [
        refused("GetObject", name, absent) for name in ("dir", "dir/deep", "absent", "dir/absent")
    ]
    emulator.inject(refused("ListObjects", "*"), refused("GetStorageLayout", "*"), *silent)
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        check_outcomes(
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
            emulator.clear_faults()
            check_outcomes(
                mounted, {"dir/x": b"dir/x", "absent": errno.ENOENT, "dir": errno.EISDIR}
            )


def test_a_list_permission_lost_after_the_start_hides_no_object(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("dir/x", b"content")
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        emulator.inject(refused("ListObjects", "*"))
        check_outcomes(mounted, {"dir/x": b"content", "absent": errno.EACCES})


def test_list_and_read_permission_for_one_folder(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
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
    emulator.inject(*rules)
    expected: dict[str, bytes | int] = {"x": b"team/x", "deep/y": b"team/deep/y"}
    with mount("--only-dir", "team", *OPTIONS) as mounted:
        check_outcomes(mounted, expected | {"absent": errno.ENOENT, "deep": errno.EISDIR})
        assert mounted.run("ls", ".", "deep").stdout == b".:\ndeep\nx\n\ndeep:\ny\n"
    with mount(*OPTIONS, expected_warnings=REFUSED) as mounted:
        below: dict[str, bytes | int] = {f"team/{name}": what for name, what in expected.items()}
        check_outcomes(mounted, below | {"team/absent": errno.ENOENT, "other/z": errno.EACCES})
        assert mounted.run("ls", "team").stdout == b"deep\nx\n"


def test_a_start_without_list_and_read_permission_fails_at_once(
    emulator: EmulatorProcess, folder: Path
) -> None:
    emulator.inject(refused("*", "*"))
    service = {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint}
    for options in ((), ("--only-dir", "team")):
        message = refusal(folder, *options, **service)
        assert message.startswith("no permission to read gs://my-bucket (")
        assert message.endswith("or on a folder named by --only-dir.")
