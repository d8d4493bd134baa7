"""Killed programs that were waiting for the mount leave it working."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse.wakeups import PERIOD_SECONDS
from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


def test_a_mount_answers_after_a_storm_of_killed_readers(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"file-{tag}" for tag in range(20)]
    for tag, name in enumerate(names):
        emulator.place(name, programs.tagged(tag, 0, 4_000_000))
    # Zero TTLs and little memory: nearly every call reaches the mount.
    options = ["--metadata-ttl", "0", "--negative-ttl", "0", "--memory", "16MiB"]
    with mount(*options) as mounted, mounted.program() as killer:
        # The timer that ends a freeze stops during each pause.
        pause = 3 * PERIOD_SECONDS
        storm = killer.call(programs.storm, str(mounted.path), names, 500, 1, False, pause)
        assert storm.stuck == 0
        assert storm.killed > 2500
        # No process has used the mount since the storm. A frozen mount would not answer this one.
        assert mounted.run("cat", names[3], timeout=10).stdout == programs.tagged(3, 0, 4_000_000)
