"""The commands in docs/CACHE.md work: what was read is read again without a request."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE
from tests.mount.operations import needs_root
from tests.support.emulator_process import COMMANDS
from tests.support.harness import END_SECONDS
from tests.support.sizes import KIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess

DOCUMENT = (Path(__file__).parents[2] / "docs" / "CACHE.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)


@pytest.mark.mount
@needs_root
def test_the_commands_work(emulator: EmulatorProcess, folder: Path) -> None:
    for number in range(3):
        emulator.place(f"logs/{number}", os.urandom(300 * KIB))
    (folder / "mnt").mkdir()
    moves = {
        "/mnt/data": str(folder / "mnt"),
        "/var/cache": str(folder),
        "my-bucket": emulator.bucket_name,
    }
    script = "\n".join(["set -euo pipefail", *BLOCKS])
    for old, new in moves.items():
        script = script.replace(old, new)
    before = emulator.statistics()
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            **os.environ,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            EMULATOR_VARIABLE: emulator.endpoint,
            # The disk of the machine may be fuller than the default allows.
            "GCSMUX_CACHE_MIN_FREE": "0",
        },
        capture_output=True,
        text=True,
        timeout=2 * END_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    # The second mount asks for nothing that the first one has read.
    assert emulator.statistics().bytes_asked - before.bytes_asked == 3 * 300 * KIB
    for part in ("disk_cache_hits", "used by no mount now", "no damage", "removed 9"):
        assert part in done.stdout, f"{part} is missing in\n{done.stdout}"
    assert not (folder / "gcsmux").exists()
