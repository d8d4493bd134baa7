"""The commands in docs/CHANGES.md and in README.md work: a mount receives a change."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.settings.json_address import JSON_EMULATOR_VARIABLE
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE
from tests.support.emulator_process import COMMANDS, EmulatorProcess
from tests.support.harness import END_SECONDS

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```sh\n(.*?)^```$", re.DOTALL | re.MULTILINE)
BLOCKS = BLOCK.findall((ROOT / "docs" / "CHANGES.md").read_text())
# A change that another program makes, and what the mount then shows without a wait for a TTL.
CHANGE = """\
test ! -e /mnt/data/new
until gcsmux stats /mnt/data | grep -q state=healthy; do sleep 0.1; done
echo content > "$BUCKET/new"
until test -e /mnt/data/new; do sleep 0.02; done
cat /mnt/data/new
"""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[EmulatorProcess]:
    (tmp_path / "buckets" / "my-bucket").mkdir(parents=True)
    with EmulatorProcess(tmp_path / "buckets", json_api=True) as emulator:
        yield emulator


@pytest.mark.mount
def test_the_commands_work(server: EmulatorProcess, tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    (setup, look, undo) = BLOCKS
    # The absence of a name would stay cached for an hour without the message.
    mount = "gcsmux-mount --negative-ttl 1h --metadata-ttl 1h"
    blocks = [setup.replace("gcsmux-mount", mount), CHANGE, look, undo]
    unmount = "trap 'umount -l /mnt/data 2>/dev/null || true' EXIT"
    script = "\n".join(["set -euo pipefail", unmount, *blocks]).replace("/mnt/data", str(data))
    done = subprocess.run(
        ["bash", "-c", script],
        env={
            **os.environ,
            "PATH": f"{COMMANDS}:{os.environ['PATH']}",
            "BUCKET": str(server.folder / "my-bucket"),
            EMULATOR_VARIABLE: server.endpoint,
            JSON_EMULATOR_VARIABLE: server.json_endpoint,
        },
        capture_output=True,
        text=True,
        timeout=2 * END_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    for part in ("\ncontent\n", "All checks passed", "is healthy, it", "deleted topic"):
        assert part in done.stdout, f"{part} is missing in\n{done.stdout}"


def test_the_commands_of_the_readme_are_those_of_the_document() -> None:
    (block,) = [
        text
        for text in BLOCK.findall((ROOT / "README.md").read_text())
        if "gcsmux changes setup" in text
    ]
    assert set(block.splitlines()) <= set("\n".join(BLOCKS).splitlines())
