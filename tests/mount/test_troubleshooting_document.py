"""The commands in docs/TROUBLESHOOTING.md work, and its table has all checks of `gcsmux doctor`.

tests/boot runs the commands of systemd.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.doctor.checklist import CHECKS
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE
from tests.mount.operations import needs, needs_root
from tests.support.emulator_process import COMMANDS
from tests.support.harness import END_SECONDS
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, NewMount

DOCUMENT = (Path(__file__).parents[2] / "docs" / "TROUBLESHOOTING.md").read_text()
BLOCKS = [
    block
    for block in re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
    if "systemctl" not in block
]
(ABORT,) = [block for block in BLOCKS if "abort" in block]


def test_the_table_has_all_checks_in_their_order() -> None:
    _, _, table = DOCUMENT.partition("| check | question |")
    titles = re.findall(r"^\| ([^|]+) \|", table, re.MULTILINE)
    assert titles == [check.title for check in CHECKS]


def run(script: str, folder: Path, emulator: EmulatorProcess, mountpoint: Path) -> str:
    """Run a block of the document with the paths of this test; return the output."""
    moves = {
        "my-bucket": emulator.bucket_name,
        "/mnt/data": str(mountpoint),
        "/etc/gcsmux": str(folder),
    }
    for old, new in moves.items():
        script = script.replace(old, new)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        env={
            **os.environ,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            EMULATOR_VARIABLE: emulator.endpoint,
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=END_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{script}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.mark.mount
@needs("findmnt")
def test_the_commands_work(emulator: EmulatorProcess, mount: NewMount, folder: Path) -> None:
    emulator.place("big/object", b"x" * MIB)
    with mount() as mounted:
        (folder / "data.toml").write_text(
            f'bucket = "{emulator.bucket_name}"\nmountpoint = "{mounted.path}"\n'
        )
        output = "".join(
            run(block, folder, emulator, mounted.path) for block in BLOCKS if block != ABORT
        )
    for part in (
        f"{emulator.bucket_name} is mounted at {mounted.path}, and the mount answers",
        f"{emulator.bucket_name} on {mounted.path}",
        "debug\ninfo\n",
        "'big/object'",
        "resident_bytes",
    ):
        assert part in output, part


@pytest.mark.mount
@needs_root
@needs("findmnt", "mountpoint")
def test_a_mount_that_hangs_is_aborted(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    with mount() as mounted:
        mounted.process.send_signal(signal.SIGSTOP)
        try:
            run(ABORT, folder, emulator, mounted.path)
        finally:
            mounted.process.send_signal(signal.SIGCONT)
        assert str(mounted.path) not in Path("/proc/self/mounts").read_text()
        mounted.process.wait(END_SECONDS)
