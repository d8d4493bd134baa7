"""A mount is read-only. Every write fails, and a name without an object is ENOENT."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


def test_every_writing_call_fails_with_erofs(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("file", b"content")
    emulator.place("folder/file", b"content")
    with mount() as mounted, mounted.program() as program:
        errors = program.call(
            programs.refusals,
            f"{mounted.path}/file",
            f"{mounted.path}/folder",
            f"{mounted.path}/absent",
        )
        assert errors == dict.fromkeys(errors, "EROFS")
        assert program.call(programs.read_whole, f"{mounted.path}/file") == b"content"


def test_programs_that_write_report_a_read_only_file_system(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    emulator.place("folder/file", b"content")
    with mount() as mounted:
        for command in (
            "touch file",
            "touch absent",
            "rm -f file",
            "rm -rf folder",
            "mkdir absent",
            "rmdir folder",
            "mv file absent",
            "ln file absent",
            "ln -s file absent",
            "cp file absent",
            "chmod 600 file",
            "chown 1:1 file",
            "truncate -s 0 file",
            "mkfifo absent",
            "echo text > absent",
            "echo text >> file",
        ):
            result = mounted.run("sh", "-c", command)
            assert result.returncode != 0, command
            assert b"Read-only file system" in result.stderr, command


def test_absent_paths_are_enoent(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("folder/file", b"content")
    with mount() as mounted, mounted.program() as program:
        for path in ("absent", "folder/absent", "absent/below", "fold", "folder/fil"):
            with pytest.raises(FileNotFoundError):
                program.call(os.stat, f"{mounted.path}/{path}")
        with pytest.raises(NotADirectoryError):
            program.call(os.stat, f"{mounted.path}/folder/file/below")
        with pytest.raises(IsADirectoryError):
            program.call(programs.read_whole, f"{mounted.path}/folder")


def test_readlink_and_unknown_attributes_of_a_file_fail(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/file"
        with pytest.raises(OSError, match=os.strerror(errno.EINVAL)):
            program.call(programs.link_target, path)
        for name in ("user.absent", "user.gcs.absent", "security.selinux"):
            with pytest.raises(OSError, match=os.strerror(errno.ENODATA)):
                program.call(os.getxattr, path, name)
