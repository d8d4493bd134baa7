"""A mount continues to work when programs that wait for it are killed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse.wakeups import PERIOD_SECONDS
from tests.support import programs

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

pytestmark = pytest.mark.mount


@pytest.mark.long
def test_a_mount_answers_after_a_storm_of_killed_readers(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    names = [f"file-{tag}" for tag in range(20)]
    for tag, name in enumerate(names):
        emulator.place(name, programs.tagged(tag, 0, 4_000_000))
    # With TTLs of zero and little memory, nearly every call reaches the mount process.
    options = ["--metadata-ttl", "0", "--negative-ttl", "0", "--memory", "16MiB"]
    with mount(*options) as mounted, mounted.program() as killer:
        # Each pause is long enough for the mount to stop the timer that ends freezes.
        pause = 3 * PERIOD_SECONDS
        storm = killer.call(programs.storm, str(mounted.path), names, 500, 1, False, pause)
        assert storm.stuck == 0
        assert storm.killed > 2500
        # Since `storm` has killed its last process, no process has used the mount. A frozen mount
        # would not answer now.
        assert mounted.run("cat", names[3], timeout=10).stdout == programs.tagged(3, 0, 4_000_000)
