"""Links, times, owners and modes that other tools have stored, as programs see them."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode

from . import programs

if TYPE_CHECKING:
    from .harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

IS_LINK = {"goog-reserved-file-is-symlink": "true"}
LONGEST = "./" * 2047 + "x"


def by_content(emulator: EmulatorProcess, name: str, target: str) -> None:
    """Store a link as gcloud does."""
    emulator.write(name, target.encode(), metadata=IS_LINK)


def by_metadata(emulator: EmulatorProcess, name: str, target: str) -> None:
    """Store a link as older versions of gcsfuse do."""
    emulator.write(name, b"", metadata={"gcsfuse_symlink_target": target})


def output(mounted: MountProcess, *command: str) -> str:
    result = mounted.run_beside(*command, environment={**os.environ, "LC_ALL": "C", "TZ": "UTC"})
    assert (result.returncode, result.stderr) == (0, b""), result
    return result.stdout.decode()


def test_links_of_either_kind_lead_where_they_say(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("folder/file", b"content\n")
    by_content(emulator, "links/content", "../folder/file")
    by_metadata(emulator, "links/metadata", "../folder/file")
    by_metadata(emulator, "links/folder", "../folder")
    by_content(emulator, "links/outside", "/etc/hostname")
    by_content(emulator, "links/dangling", "nowhere ü")
    by_content(emulator, "links/loop", "loop")
    by_content(emulator, "links/longest", LONGEST)
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/links"
        for name in ("content", "metadata", "folder/file"):
            assert program.call(programs.read_whole, f"{path}/{name}") == b"content\n"
        for name, target in {
            "content": "../folder/file",
            "metadata": "../folder/file",
            "outside": "/etc/hostname",
            "dangling": "nowhere ü",
            "longest": LONGEST,
        }.items():
            assert program.call(programs.link_target, f"{path}/{name}") == target
            status = program.call(os.lstat, f"{path}/{name}")
            assert stat.filemode(status.st_mode) == "lrwxrwxrwx"
            assert status.st_size == len(target.encode())
        for name, number in {"dangling": errno.ENOENT, "loop": errno.ELOOP}.items():
            with pytest.raises(OSError, match=os.strerror(number)):
                program.call(programs.read_whole, f"{path}/{name}")
        # The kind is in the listing: find asks no attributes.
        names = output(mounted, "find", "mnt", "-type", "l").split()
        assert len(names) == 7
        listed = output(mounted, "ls", "-l", "mnt/links")
        assert "content -> ../folder/file\n" in listed


def test_programs_copy_links_as_links(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("folder/file", b"content\n")
    by_content(emulator, "folder/one", "file")
    by_metadata(emulator, "folder/two", "../folder/one")
    with mount() as mounted:
        output(mounted, "cp", "-a", "mnt/folder", "copied")
        output(mounted, "rsync", "-a", "mnt/folder/", "synchronised")
        output(mounted, "sh", "-c", "mkdir archived && tar -C mnt/folder -c . | tar -C archived -x")
        for name in ("copied", "synchronised", "archived"):
            folder = mounted.folder / name
            assert str((folder / "one").readlink()) == "file"
            assert str((folder / "two").readlink()) == "../folder/one"
            assert not (folder / "file").is_symlink()
        again = output(mounted, "rsync", "-ai", "mnt/folder/", "synchronised")
        assert again == ""


def test_the_cache_of_a_model_hub_works(emulator: EmulatorProcess, mount: NewMount) -> None:
    hub = "models--team--name"
    weights = programs.tagged(3, 0, 300_000)
    emulator.place(f"{hub}/blobs/d34db33f", weights)
    emulator.place(f"{hub}/blobs/c0ff33", b"{}\n")
    emulator.place(f"{hub}/refs/main", b"0123abc")
    by_content(emulator, f"{hub}/snapshots/0123abc/weights.bin", "../../blobs/d34db33f")
    by_metadata(emulator, f"{hub}/snapshots/0123abc/config.json", "../../blobs/c0ff33")
    with mount() as mounted, mounted.program() as program:
        snapshot = f"{mounted.path}/{hub}/snapshots/0123abc"
        assert program.call(programs.read_whole, f"{snapshot}/weights.bin") == weights
        assert program.call(programs.read_whole, f"{snapshot}/config.json") == b"{}\n"
        real = program.call(os.path.realpath, f"{snapshot}/weights.bin")
        assert real == f"{mounted.path}/{hub}/blobs/d34db33f"


def test_a_link_is_asked_for_once_until_it_is_overwritten(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    by_content(emulator, "link", "first")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/link"
        assert program.call(programs.link_target, path) == "first"
        streams = emulator.statistics().requests["BidiReadObject"]
        for _ in range(3):
            assert program.call(programs.link_target, path) == "first"
        assert emulator.statistics().requests["BidiReadObject"] == streams
        by_content(emulator, "link", "second")
        assert program.call(programs.link_target, path) == "second"
        emulator.write("link", b"a file")
        assert program.call(programs.read_whole, path) == b"a file"
        by_metadata(emulator, "link", "third")
        assert program.call(programs.link_target, path) == "third"


def test_the_links_of_a_directory_are_fetched_ahead(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"links/{number:03}" for number in range(100)]
    for name in names:
        by_content(emulator, name, f"target of {name}")
    with mount() as mounted, mounted.program() as program:
        listed = output(mounted, "ls", "-l", "mnt/links")
        assert listed.count(" -> target of ") == 100
        assert mounted.statistics()["misses"] <= 10
        for name in names:
            target = program.call(programs.link_target, f"{mounted.path}/{name}")
            assert target == f"target of {name}"


def test_what_cannot_be_a_target_is_a_file_and_counted(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    by_content(emulator, "empty", "")
    by_content(emulator, "long", LONGEST + "x")
    by_content(emulator, "hollow", "a\0b")
    emulator.write("times", b"text", metadata={"gcsfuse_mtime": "now"})
    with (
        mount(expected_warnings=["readlink: EIO"]) as mounted,
        mounted.program() as program,
    ):
        assert program.call(programs.read_whole, f"{mounted.path}/empty") == b""
        assert program.call(programs.read_whole, f"{mounted.path}/long").decode() == LONGEST + "x"
        assert program.call(programs.read_whole, f"{mounted.path}/times") == b"text"
        for _ in range(2):
            # What the content is, is known only when it has been read.
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                program.call(programs.link_target, f"{mounted.path}/hollow")
            output(mounted, "ls", "-lR", "mnt/times", "mnt/empty")
        assert mounted.statistics()["ill_formed_metadata"] == 3


def test_a_link_that_may_not_be_read_or_is_gone_is_an_errno(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    by_content(emulator, "refused", "target")
    by_content(emulator, "gone", "target")
    denied = Status(StatusCode.PERMISSION_DENIED)
    emulator.order(Rule(denied, method="BidiReadObject", object="refused", times=FOR_EVER))
    with (
        mount(expected_warnings=["readlink: EACCES"]) as mounted,
        mounted.program() as program,
    ):
        assert program.call(os.listdir, str(mounted.path)) == ["gone", "refused"]
        with pytest.raises(PermissionError):
            program.call(programs.link_target, f"{mounted.path}/refused")
        # The kernel looks the name up again, and finds what it leads to now.
        by_content(emulator, "gone", "elsewhere")
        assert program.call(programs.link_target, f"{mounted.path}/gone") == "elsewhere"


def test_extended_attributes_that_are_listed_can_be_read(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    by_content(emulator, "link", "file")
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/link"
        assert program.call(programs.own_attributes, path) == []
        assert "user.gcs.generation" in program.call(os.listxattr, path)


def test_times_are_those_of_the_files_that_were_stored(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    second = 10**9
    emulator.write(
        "gcloud",
        b"x",
        metadata={"goog-reserved-file-mtime": "86400", "goog-reserved-file-atime": "86500"},
    )
    precise = {"gcsfuse_mtime": "2001-02-03T04:05:06.123456789+01:00"}
    emulator.write("gcsfuse", b"x", metadata=precise | {"goog-reserved-file-mtime": "5"})
    emulator.write("old", b"x", metadata={"gcsfuse_mtime": "1901-01-01T00:00:00.5Z"})
    emulator.write("folder/", b"", metadata={"goog-reserved-file-mtime": "86400"})
    emulator.write("link", b"old", metadata=IS_LINK | {"goog-reserved-file-mtime": "86400"})
    with mount() as mounted, mounted.program() as program:

        def times(name: str) -> tuple[int, int]:
            status = program.call(os.lstat, f"{mounted.path}/{name}")
            # When object or metadata last changed is something else, and backups ask for it.
            assert status.st_ctime_ns > 10**18
            return status.st_mtime_ns, status.st_atime_ns

        assert times("gcloud") == (86_400 * second, 86_500 * second)
        assert times("gcsfuse") == (981_169_506_123_456_789,) * 2
        assert times("old") == (-2_177_452_799_500_000_000,) * 2
        assert times("folder") == (86_400 * second,) * 2
        assert times("link") == (86_400 * second,) * 2
        listed = output(mounted, "ls", "-l", "--time-style=+%Y-%m-%d", "mnt/gcsfuse")
        assert "2001-02-03" in listed


def test_owners_and_modes_are_shown_if_asked_for(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    def owned(mode: str) -> dict[str, str]:
        return {
            "goog-reserved-posix-uid": "1234",
            "goog-reserved-posix-gid": "2345",
            "goog-reserved-posix-mode": mode,
        }

    emulator.write("script", b"#!/bin/sh\necho ran\n", metadata=owned("4755"))
    emulator.write("folder/", b"", metadata=owned("711"))
    emulator.write("link", b"script", metadata=IS_LINK | owned("777"))
    emulator.place("other", b"x")
    ours = os.getuid(), os.getgid()
    with mount("--posix") as mounted, mounted.program() as program:
        path = str(mounted.path)
        assert program.call(programs.modes, f"{path}/script") == ("-rwxr-xr-x", 1234, 2345)
        assert program.call(programs.modes, f"{path}/folder") == ("drwx--x--x", 1234, 2345)
        assert program.call(programs.modes, f"{path}/other") == ("-rw-r--r--", *ours)
        status = program.call(os.lstat, f"{path}/link")
        assert (stat.filemode(status.st_mode), status.st_uid) == ("lrwxrwxrwx", 1234)
        assert output(mounted, "mnt/script") == "ran\n"
    with mount("-o", "ro") as mounted, mounted.program() as program:
        found = program.call(programs.modes, f"{mounted.path}/script")
        assert found == ("-rw-r--r--", *ours)


def test_a_file_stays_readable_when_its_object_becomes_a_link(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.write("name", b"elsewhere")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/name"
        descriptor = program.call(os.open, path, os.O_RDONLY)
        emulator.change_metadata("name", IS_LINK)
        assert program.call(programs.link_target, path) == "elsewhere"
        assert program.call(os.pread, descriptor, 100, 0) == b"elsewhere"
        program.call(os.close, descriptor)
