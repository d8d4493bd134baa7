"""Tests with real mounts: changes of the bucket show at once, without waiting for a TTL."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse.epoch_notifier import SHORT_NAME_SECONDS
from tests.support.harness import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import MountProcess, NewMount

pytestmark = pytest.mark.mount

# Without news of changes, no change would show during a test.
TTL = ("--metadata-ttl", "1h", "--negative-ttl", "1h")


def wait_until_healthy(mounted: MountProcess) -> None:
    wait_until(lambda: "feed of changes: healthy" in mounted.log, "the feed is healthy")


def test_changes_show_through_stat_ls_open_and_absent_names(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    for name in ("overwritten", "deleted", "folder/last"):
        emulator.write(name, b"old")
    with mount("--changes", emulator.subscribe(), *TTL) as mounted:
        wait_until_healthy(mounted)
        assert mounted.run("ls", "-R").returncode == 0
        for path in ("new", "new-folder/file"):
            assert mounted.run("stat", path).returncode == 1
        emulator.write("overwritten", b"longer than before")
        emulator.write("new", b"new")
        emulator.write("new-folder/file", b"new")
        emulator.delete("deleted")
        emulator.delete("folder/last")
        expected = b".:\nnew\nnew-folder\noverwritten\n\n./new-folder:\nfile\n"
        wait_until(lambda: mounted.run("ls", "-R").stdout == expected, "the listing is new")
        assert mounted.run("stat", "-c", "%s", "overwritten").stdout == b"18\n"
        assert mounted.run("cat", "overwritten", "new", "new-folder/file").stdout == (
            b"longer than beforenewnew"
        )
        for path in ("deleted", "folder"):
            assert mounted.run("stat", path).returncode == 1
        # Names that no change concerns need no request to the service, although the kernel asks.
        emulator.statistics(reset=True)
        emulator.write("elsewhere", b"")
        wait_until(lambda: mounted.run("stat", "elsewhere").returncode == 0, "the object is new")
        assert mounted.run("stat", "overwritten", "new", "new-folder/file").returncode == 0
        assert "ListObjects" not in emulator.statistics().requests


def test_names_have_their_ttl_only_without_the_feed(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.write("file", b"old")
    subscription = emulator.subscribe()
    options = ("--changes", subscription, "--metadata-ttl", "1s", "--negative-ttl", "1s")
    with mount(*options, expected_warnings=["feed of changes: lost"]) as mounted:
        wait_until_healthy(mounted)
        mounted.run("ls", "-l")
        mounted.run("stat", "absent")
        emulator.statistics(reset=True)
        time.sleep(2)
        assert mounted.run("ls", "-l").stdout.endswith(b" file\n")
        assert mounted.run("stat", "file", "absent").returncode == 1
        assert emulator.statistics().requests == {}
        emulator.unsubscribe(subscription)
        wait_until(lambda: "feed of changes: lost" in mounted.log, "the feed is lost")
        # The mount does not receive these changes.
        emulator.write("file", b"new")
        emulator.write("absent", b"")
        wait_until(lambda: mounted.run("cat", "file").stdout == b"new", "the name is asked for")
        wait_until(lambda: mounted.run("stat", "absent").returncode == 0, "the absence, too")


@contextlib.contextmanager
def mounted_on(directory: str, *, in_other_namespace: bool) -> Iterator[None]:
    """Mount a file system on a directory during the block; check that it is still there then."""
    script = f"""
        mount -t tmpfs nested {directory} && touch {directory}/own && echo mounted && read line
        ls {directory} && umount {directory}
    """
    shell = ["unshare", "--mount", "sh"] if in_other_namespace else ["sh"]
    with subprocess.Popen(
        ["timeout", "60", *shell, "-c", script],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "mounted\n"
        yield
        assert process.communicate("end\n", timeout=30)[0] == "own\n"
        assert process.returncode == 0


def test_a_file_system_on_a_directory_stays_and_changes_show_after_a_second(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    if os.geteuid():
        pytest.skip("only root may mount")
    for name in ("folder/file", "changed", "noticed"):
        emulator.write(name, b"old")
    warned = ["mounted on a directory"]
    with mount("--changes", emulator.subscribe(), *TTL, expected_warnings=warned) as mounted:
        wait_until_healthy(mounted)
        for in_other_namespace in (False, True):
            _check_spared(emulator, mounted, in_other_namespace=in_other_namespace)
        assert mounted.run("ls", "folder").stdout == b"file\n"


def _check_spared(
    emulator: EmulatorProcess, mounted: MountProcess, *, in_other_namespace: bool
) -> None:
    content = b"in another namespace" if in_other_namespace else b"in this namespace"
    with mounted_on(f"{mounted.path}/folder", in_other_namespace=in_other_namespace):
        # What is mounted in another namespace is noticed at the next change of a name in use.
        mounted.run("stat", "noticed")
        emulator.write("noticed", content)
        wait_until(
            lambda: mounted.statistics()["changes_kernel_seconds"] == SHORT_NAME_SECONDS,
            "the kernel keeps names for a short time",
        )
        epochs = mounted.statistics()["changes_epochs"]
        mounted.run("stat", "changed")
        emulator.write("changed", content)
        wait_until(lambda: mounted.run("cat", "changed").stdout == content, "the change shows")
        assert mounted.statistics()["changes_epochs"] == epochs
    # The change of `noticed` was withheld from the kernel until now.
    emulator.write("changed", b"after")
    wait_until(lambda: mounted.statistics()["changes_epochs"] > epochs, "the kernel is notified")
    assert mounted.run("cat", "noticed").stdout == content
