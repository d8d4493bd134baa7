"""Tests with real mounts: changes of the bucket show at once, without waiting for a TTL."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from tests.support.harness import wait_until

if TYPE_CHECKING:
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
        emulator.statistics(reset=True)
        expected = b".:\nnew\nnew-folder\noverwritten\n\n./new-folder:\nfile\n"
        began = time.time()
        wait_until(lambda: mounted.run("ls", "-R").stdout == expected, "the listing is new")
        print(time.time() - began)
        assert mounted.run("stat", "-c", "%s", "overwritten").stdout == b"18\n"
        assert mounted.run("cat", "overwritten", "new", "new-folder/file").stdout == (
            b"longer than beforenewnew"
        )
        for path in ("deleted", "folder"):
            assert mounted.run("stat", path).returncode == 1
        print(emulator.statistics())
        print({k: v for k, v in mounted.statistics().items() if "change" in k})
        print(mounted.log)
