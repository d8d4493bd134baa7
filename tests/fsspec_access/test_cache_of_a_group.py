"""Two users of one group share a cache on disk (`cache_group`)."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
import tempfile
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.programs import tagged, tags
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.support.emulator_process import EmulatorProcess

pytestmark = [
    pytest.mark.real_time,
    pytest.mark.skipif(os.geteuid() != 0, reason="only root can start programs of other users"),
]

USERS = (71001, 71002)
GROUP = 72001
SIZE = 5 * MIB + 1024
SECONDS = 60
# Reads objects, writes their content to stdout, and waits until the cache has kept it.
PROGRAM = """
import sys, time
from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
endpoint, cache, group, bucket, *names = sys.argv[1:]
fs = GcsmuxFileSystem(
    endpoint=endpoint, plaintext=True, anonymous=True,
    cache_dir=cache, cache_size="1GiB", cache_min_free="1MiB", cache_group=group,
)
for name in names:
    sys.stdout.buffer.write(fs.cat_file(f"{bucket}/{name}"))
time.sleep(1)
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that other users can enter."""
    with tempfile.TemporaryDirectory(prefix="gcsmux-group-test-") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def start(
    user: int, emulator: EmulatorProcess, cache: Path, *names: str
) -> subprocess.Popen[bytes]:
    """Start a program of a user of the group that reads objects through the cache."""
    as_user = (
        *("setpriv", f"--reuid={user}", f"--regid={user}", f"--groups={GROUP}"),
        # The checkout may be in a folder that only root can enter. The users still cannot write.
        *("--inh-caps=-all,+dac_read_search", "--ambient-caps=-all,+dac_read_search"),
    )
    program = (sys.executable, "-c", PROGRAM, emulator.endpoint, str(cache), str(GROUP))
    return subprocess.Popen(
        [*as_user, *program, emulator.bucket_name, *names], stdout=subprocess.PIPE
    )


def read(emulator: EmulatorProcess, cache: Path, *wanted: tuple[int, str]) -> int:
    """Let users read objects at the same time; return the bytes requested from the service."""
    emulator.statistics(reset=True)
    with ExitStack() as stack:
        programs = [
            (stack.enter_context(start(user, emulator, cache, *names)), names)
            for user, names in wanted
        ]
        for program, names in programs:
            stack.callback(program.kill)
            content, _ = program.communicate(timeout=SECONDS)
            assert program.returncode == 0
            for number, name in enumerate(names):
                part = content[number * SIZE : (number + 1) * SIZE]
                assert (len(part), tags(part, 0)) == (SIZE, {int(name)})
    return emulator.statistics().bytes_asked


def test_users_of_a_group_share_a_cache(emulator: EmulatorProcess, folder: Path) -> None:
    for tag in range(4):
        emulator.place(str(tag), tagged(tag, 0, SIZE))
    cache = folder / "cache"
    cache.mkdir()
    os.chown(cache, 0, GROUP)
    cache.chmod(0o2770)
    first, second = USERS

    assert read(emulator, cache, (first, "01"), (second, "23")) == 4 * SIZE
    assert read(emulator, cache, (first, "23"), (second, "01")) == 0

    owners = set()
    for path in cache.rglob("*"):
        status = path.stat()
        owners.add(status.st_uid)
        assert status.st_gid == GROUP, path
        assert stat.S_IMODE(status.st_mode) == (0o2770 if path.is_dir() else 0o660), path
    assert owners == set(USERS)
