"""Tests with real mounts: names that survive a restart, and mounts without the service."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.support.harness import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.emulator_process import EmulatorProcess
    from tests.support.harness import NewMount

pytestmark = [pytest.mark.mount, pytest.mark.slow]

_AWAY = "cannot be reached"
_LIST = "ListObjects"


def test_after_a_restart_names_need_no_request(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    options = ["--cache-dir", str(folder / "cache"), "--cache-listings", "--metadata-ttl", "1h"]
    for name in ("a", "dir/b", "dir/inner/.keep", "both", "both/c"):
        emulator.write(name, b"hello")
    with mount(*options) as first:
        listed = first.run("ls", "-lR").stdout
        assert b"%file~both" in listed
        first.run("stat", "dir/absent")
    with mount(*options) as second:
        emulator.statistics(reset=True)
        assert second.run("ls", "-lR").stdout == listed
        assert second.run("stat", "a", "dir/b", "dir/inner/.keep").returncode == 0
        assert second.run("stat", "dir/other").returncode == 1
        assert emulator.statistics().requests == {}
        assert second.statistics()["kept_listings_read"] == 4


@pytest.mark.long
def test_a_mount_starts_and_works_without_the_service(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    options = ["--cache-dir", str(folder / "cache"), "--cache-size", "100MiB", "--cache-listings"]
    options += ["--offline", "--metadata-ttl", "0", "--negative-ttl", "0", "--read-timeout", "2s"]
    content = bytes(range(256)) * 4096
    emulator.place("cached", content)
    emulator.place("uncached", b"first")
    with mount(*options) as online:
        assert online.run("ls").stdout == b"cached\nuncached\n"
        assert online.run("cat", "cached").stdout == content
        wait_until(lambda: online.statistics()["disk_cache_queued_bytes"] == 0, "it is written")
    emulator.kill()
    with mount(
        *options, expected_warnings=[_AWAY, "does not answer", "not read within"]
    ) as offline:
        assert offline.run("ls").stdout == b"cached\nuncached\n"
        assert offline.run("cat", "cached").stdout == content
        assert b"timed out" in offline.run("cat", "uncached", timeout=10).stderr
        assert b"No such file" in offline.run("cat", "absent").stderr
        assert offline.statistics()["offline"] == 1
        emulator.start()
        emulator.place("cached", b"second")
        wait_until(lambda: offline.statistics()["offline"] == 0, "the service is found again")
        assert offline.run("cat", "cached").stdout == b"second"
    assert offline.log.count("the service answers again") == 1
