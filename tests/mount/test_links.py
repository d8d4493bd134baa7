"""Symbolic links, times, owners and modes that other tools have stored in objects."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

IS_LINK = {"goog-reserved-file-is-symlink": "true"}
LONGEST = "./" * 2047 + "x"


def store_link_as_content(emulator: EmulatorProcess, name: str, target: str) -> None:
    """Store a symbolic link as gcloud does: the content of the object is the target."""
    emulator.write(name, target.encode(), metadata=IS_LINK)


def store_link_as_metadata(emulator: EmulatorProcess, name: str, target: str) -> None:
    """Store a symbolic link as older versions of gcsfuse do: the target is in the metadata."""
    emulator.write(name, b"", metadata={"gcsfuse_symlink_target": target})


def output(mounted: MountProcess, *command: str) -> str:
    result = mounted.run_beside(*command, environment={**os.environ, "LC_ALL": "C", "TZ": "UTC"})
    assert (result.returncode, result.stderr) == (0, b""), result
    return result.stdout.decode()


@pytest.mark.long
def test_both_kinds_of_links_lead_to_their_targets(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("folder/file", b"content\n")
    store_link_as_content(emulator, "links/content", "../folder/file")
    store_link_as_metadata(emulator, "links/metadata", "../folder/file")
    store_link_as_metadata(emulator, "links/folder", "../folder")
    store_link_as_content(emulator, "links/outside", "/etc/hostname")
    store_link_as_content(emulator, "links/dangling", "nowhere ü")
    store_link_as_content(emulator, "links/loop", "loop")
    store_link_as_content(emulator, "links/longest", LONGEST)
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
        # find(1) requests no attributes, because the entries of a directory contain the file type.
        names = output(mounted, "find", "mnt", "-type", "l").split()
        assert len(names) == 7
        listed = output(mounted, "ls", "-l", "mnt/links")
        assert "content -> ../folder/file\n" in listed


def test_programs_copy_links_as_links(emulator: EmulatorProcess, mount: NewMount) -> None:
    emulator.place("folder/file", b"content\n")
    store_link_as_content(emulator, "folder/one", "file")
    store_link_as_metadata(emulator, "folder/two", "../folder/one")
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


def test_a_model_cache_made_of_links_is_readable(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    hub = "models--team--name"
    weights = programs.tagged(3, 0, 300_000)
    emulator.place(f"{hub}/blobs/d34db33f", weights)
    emulator.place(f"{hub}/blobs/c0ff33", b"{}\n")
    emulator.place(f"{hub}/refs/main", b"0123abc")
    store_link_as_content(emulator, f"{hub}/snapshots/0123abc/weights.bin", "../../blobs/d34db33f")
    store_link_as_metadata(emulator, f"{hub}/snapshots/0123abc/config.json", "../../blobs/c0ff33")
    with mount() as mounted, mounted.program() as program:
        snapshot = f"{mounted.path}/{hub}/snapshots/0123abc"
        assert program.call(programs.read_whole, f"{snapshot}/weights.bin") == weights
        assert program.call(programs.read_whole, f"{snapshot}/config.json") == b"{}\n"
        real = program.call(os.path.realpath, f"{snapshot}/weights.bin")
        assert real == f"{mounted.path}/{hub}/blobs/d34db33f"


def test_a_link_is_requested_once_until_it_is_overwritten(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    store_link_as_content(emulator, "link", "first")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/link"
        assert program.call(programs.link_target, path) == "first"
        streams = emulator.statistics().requests["BidiReadObject"]
        for _ in range(3):
            assert program.call(programs.link_target, path) == "first"
        assert emulator.statistics().requests["BidiReadObject"] == streams
        store_link_as_content(emulator, "link", "second")
        assert program.call(programs.link_target, path) == "second"
        emulator.write("link", b"a file")
        assert program.call(programs.read_whole, path) == b"a file"
        store_link_as_metadata(emulator, "link", "third")
        assert program.call(programs.link_target, path) == "third"


def test_a_listing_prefetches_the_links_of_its_directory(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"links/{number:03}" for number in range(100)]
    for name in names:
        store_link_as_content(emulator, name, f"target of {name}")
    with mount() as mounted, mounted.program() as program:
        listed = output(mounted, "ls", "-l", "mnt/links")
        assert listed.count(" -> target of ") == 100
        assert mounted.statistics()["misses"] <= 10
        for name in names:
            target = program.call(programs.link_target, f"{mounted.path}/{name}")
            assert target == f"target of {name}"


def test_an_object_with_an_invalid_target_is_a_file_and_is_counted(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    store_link_as_content(emulator, "empty", "")
    store_link_as_content(emulator, "long", LONGEST + "x")
    store_link_as_content(emulator, "hollow", "a\0b")
    emulator.write("times", b"text", metadata={"gcsfuse_mtime": "now"})
    with (
        mount(expected_warnings=["readlink: EIO"]) as mounted,
        mounted.program() as program,
    ):
        assert program.call(programs.read_whole, f"{mounted.path}/empty") == b""
        assert program.call(programs.read_whole, f"{mounted.path}/long").decode() == LONGEST + "x"
        assert program.call(programs.read_whole, f"{mounted.path}/times") == b"text"
        for _ in range(2):
            # The mount notices that this target is invalid only when it reads the content.
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                program.call(programs.link_target, f"{mounted.path}/hollow")
            output(mounted, "ls", "-lR", "mnt/times", "mnt/empty")
        assert mounted.statistics()["ill_formed_metadata"] == 3


def test_a_refused_link_is_eacces_and_an_overwritten_one_is_read_again(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    store_link_as_content(emulator, "refused", "target")
    store_link_as_content(emulator, "gone", "target")
    denied = Status(StatusCode.PERMISSION_DENIED)
    emulator.inject(Rule(denied, method="BidiReadObject", object="refused", times=FOR_EVER))
    with (
        mount(expected_warnings=["readlink: EACCES"]) as mounted,
        mounted.program() as program,
    ):
        assert program.call(os.listdir, str(mounted.path)) == ["gone", "refused"]
        with pytest.raises(PermissionError):
            program.call(programs.link_target, f"{mounted.path}/refused")
        # The mount opens the old generation and gets ESTALE. So the kernel looks up the name again
        # and finds the new link.
        store_link_as_content(emulator, "gone", "elsewhere")
        assert program.call(programs.link_target, f"{mounted.path}/gone") == "elsewhere"


def test_a_link_lists_no_extended_attributes_of_its_own(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("file", b"content")
    store_link_as_content(emulator, "link", "file")
    with mount() as mounted, mounted.program() as program:
        path = f"{mounted.path}/link"
        assert program.call(programs.own_attributes, path) == []
        assert "user.gcs.generation" in program.call(os.listxattr, path)


def test_files_have_the_times_that_other_tools_have_stored(
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
            # ctime is the time at which the object or its metadata last changed. Backup programs
            # need this time.
            assert status.st_ctime_ns > 10**18
            return status.st_mtime_ns, status.st_atime_ns

        assert times("gcloud") == (86_400 * second, 86_500 * second)
        assert times("gcsfuse") == (981_169_506_123_456_789,) * 2
        assert times("old") == (-2_177_452_799_500_000_000,) * 2
        assert times("folder") == (86_400 * second,) * 2
        assert times("link") == (86_400 * second,) * 2
        listed = output(mounted, "ls", "-l", "--time-style=+%Y-%m-%d", "mnt/gcsfuse")
        assert "2001-02-03" in listed


def test_posix_option_shows_stored_owners_and_modes(
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
        mode = program.call(programs.modes, f"{mounted.path}/script")
        assert mode == ("-rw-r--r--", *ours)


def test_an_open_file_stays_readable_when_its_object_becomes_a_link(
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
