"""Tests with real mounts: an earlier time, frozen names, and their file."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import grpc
import pytest

from gcsmux_fs.storage.pb import storage_pb2 as pb
from tests.support.emulator_process import COMMANDS
from tests.support.harness import wait_until

from .refused import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import MountProcess, NewMount

pytestmark = [pytest.mark.mount, pytest.mark.slow]


def use_keeping_bucket(emulator: EmulatorProcess, *, versioning: bool, days: int = 0) -> None:
    """Replace the bucket of a test by one that keeps old generations."""
    bucket = pb.Bucket(project="projects/p")
    bucket.versioning.enabled = versioning
    bucket.soft_delete_policy.retention_duration.seconds = days * 86400
    emulator.bucket.rmdir()
    request = pb.CreateBucketRequest(
        parent="projects/_", bucket_id=emulator.bucket_name, bucket=bucket
    )
    with grpc.insecure_channel(emulator.endpoint) as channel:
        call: grpc.UnaryUnaryMultiCallable[bytes, bytes] = channel.unary_unary(
            "/google.storage.v2.Storage/CreateBucket"
        )
        call(request.SerializeToString(), timeout=20)


def a_moment() -> str:
    """Return a time between the writes before and after this call."""
    time.sleep(0.05)
    now = datetime.now(UTC).isoformat(timespec="microseconds")
    time.sleep(0.05)
    return now


def frozen(mount: MountProcess) -> dict[str, Any]:
    """Return what `gcsmux stats` shows about the frozen names, when their digest is current."""
    facts: dict[str, Any] = {}

    def is_current() -> bool:
        shown = mount.run_beside(COMMANDS / "gcsmux", "stats", "--json", mount.path).stdout
        facts.update(json.loads(shown)["frozen"])
        return bool(facts["is_current"])

    wait_until(is_current, "the digest is current")
    return facts


def test_a_mount_shows_the_bucket_as_it_was(emulator: EmulatorProcess, mount: NewMount) -> None:
    use_keeping_bucket(emulator, versioning=True)
    emulator.write("overwritten", b"old")
    emulator.write("deleted", b"deleted")
    emulator.write("dir/kept", b"kept")
    emulator.write("gone/lost", b"lost")
    moment = a_moment()
    emulator.write("overwritten", b"new and longer")
    emulator.delete("deleted")
    emulator.write("later", b"later")
    emulator.write("newdir/later", b"later")
    with mount("--as-of", moment) as past:
        assert past.run("find", "-type", "f").stdout.split() == [
            b"./deleted",
            b"./dir/kept",
            b"./gone/lost",
            b"./overwritten",
        ]
        assert past.run("ls").stdout == b"deleted\ndir\ngone\noverwritten\n"
        assert past.run("cat", "overwritten", "deleted", "dir/kept").stdout == b"olddeletedkept"
        assert past.run("stat", "newdir").returncode == 1
        assert past.run("stat", "later").returncode == 1
        assert past.run("stat", "-c", "%s", "overwritten").stdout == b"3\n"
        xattr = past.run("python3", "-c", "import os; print(os.listxattr('deleted'))").stdout
        assert b"user.gcs.generation" in xattr
    with mount() as now:
        assert now.run("cat", "overwritten").stdout == b"new and longer"


def test_a_soft_deleted_object_is_shown_but_cannot_be_read(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    use_keeping_bucket(emulator, versioning=False, days=7)
    emulator.write("a", b"first")
    emulator.write("b", b"b")
    moment = a_moment()
    emulator.write("a", b"second!")
    with mount("--as-of", moment, expected_warnings=["has no object versioning"]) as past:
        assert past.run("stat", "-c", "%n %s", "a", "b").stdout == b"a 5\nb 1\n"
        failed = past.run("cat", "a")
        assert (failed.stdout, b"Stale file handle" in failed.stderr) == (b"", True)
        assert past.run("cat", "b").stdout == b"b"
        assert past.statistics()["as_of_soft_deleted"] > 0


def test_frozen_names_never_change_and_can_be_mounted_again(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    file = folder / "frozen"
    for name in ("a", "b", "dir/c", "unseen/f"):
        emulator.write(name, name.encode())
    with mount("--freeze-file", str(file)) as first:
        assert first.run("ls").stdout == b"a\nb\ndir\nunseen\n"
        assert first.run("ls", "dir").stdout == b"c\n"
        assert not json.loads(file.read_bytes().splitlines()[-1])["complete"]
        emulator.write("a", b"another generation")
        emulator.delete("b")
        emulator.write("d", b"d")
        first.run_beside(COMMANDS / "gcsmux", "reload", first.path)
        assert first.run("ls").stdout == b"a\nb\ndir\nunseen\n"
        assert first.run("stat", "-c", "%s", "a").stdout == b"1\n"
        assert first.run("stat", "d").returncode == 1
        for name in "ab":
            assert b"Stale file handle" in first.run("cat", name).stderr
        assert first.run("cat", "dir/c").stdout == b"dir/c"
        facts = frozen(first)
        assert facts["names"] == 3
        wait_until(lambda: b'"dir/c"' in file.read_bytes(), "the reload writes the file")
    written = file.read_bytes()
    last = json.loads(written.splitlines()[-1])
    assert (last["complete"], last["digest"]) == (True, facts["digest"])
    emulator.write("dir/e", b"e")
    with mount("--freeze-file", str(file), expected_warnings=["has no answer"]) as second:
        emulator.statistics(reset=True)
        assert second.run("ls").stdout == b"a\nb\ndir\nunseen\n"
        assert second.run("ls", "dir").stdout == b"c\n"
        assert second.run("cat", "dir/c").stdout == b"dir/c"
        assert b"No such file" in second.run("stat", "dir/e").stderr
        assert b"Stale file handle" in second.run("stat", "unseen/f").stderr
        assert b"Stale file handle" in second.run("ls", "unseen").stderr
        assert frozen(second)["digest"] == facts["digest"]
        assert "ListObjects" not in emulator.statistics().requests
    assert file.read_bytes() == written


def test_a_killed_mount_leaves_a_file_that_the_next_mount_continues(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    file = folder / "frozen"
    emulator.write("a", b"a")
    emulator.write("b", b"b")
    first = mount("--freeze-file", str(file)).__enter__()
    try:
        assert first.run("stat", "a").returncode == 0
        first.run_beside(COMMANDS / "gcsmux", "reload", first.path)
        wait_until(lambda: b'"a"' in file.read_bytes(), "the file is written")
    finally:
        first.abort()
        assert first.process.stderr is not None
        first.process.stderr.close()
    emulator.write("a", b"another generation")
    with mount("--freeze-file", str(file)) as second:
        assert second.run("stat", "-c", "%s", "a", "b").stdout == b"1\n1\n"
        assert frozen(second)["names"] == 2


def test_a_mount_that_cannot_show_this_state_does_not_start(
    emulator: EmulatorProcess, folder: Path
) -> None:
    broken = folder / "broken"
    broken.write_text("no names\n")
    for options, message in (
        (["--as-of", "2999-01-01T00:00:00Z"], "--as-of is in the future"),
        (["--freeze-file", str(folder / "absent" / "file")], "No such file or directory"),
        (["--freeze-file", str(broken)], "line 1 is not as gcsmux writes it"),
    ):
        assert message in refusal(
            folder,
            *options,
            "--log-level=error",
            bucket=emulator.bucket_name,
            STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint,
        )
