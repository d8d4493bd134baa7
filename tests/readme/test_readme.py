"""Every command of README.md is run: by continuous integration, or here, in the document's order.

Paths outside of the test's own folder are moved into it, `systemctl` works on a root of its own
(there is no systemd in a container), and buckets come from the emulator.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.support.harness import EmulatorProcess

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()
COMMANDS = Path(sys.executable).parent
TIMEOUT_SECONDS = 300


def blocks() -> list[list[str]]:
    """Return the commands of each shell block of the document."""
    found = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [block.splitlines() for block in found]


def block_with(part: str) -> list[str]:
    """Return the one block that holds `part`."""
    (found,) = [block for block in blocks() if any(part in line for line in block)]
    return found


def run(lines: list[str], moves: dict[str, str], environment: dict[str, str]) -> str:
    """Run the lines in one shell, stopping at the first failure, with paths moved."""
    script = "\n".join(["set -euo pipefail", *lines])
    for old, new in moves.items():
        script = script.replace(old, new)
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert result.returncode == 0, f"{script}\n{result.stdout}\n{result.stderr}"
    return result.stdout


@pytest.fixture
def emulator(tmp_path: Path) -> Iterator[EmulatorProcess]:
    """Serve a bucket with the name and the folders that the document uses."""
    folder = tmp_path / "buckets"
    logs = folder / "my-bucket" / "logs" / "2026"
    logs.mkdir(parents=True)
    (logs / "first.log").write_text("a line\n")
    with EmulatorProcess(folder) as server:
        yield server


def test_no_command_is_forgotten() -> None:
    tested = [
        *["gcsmux-mount my-bucket /mnt/data", "make demo", "make test", "apt-get", "umount"],
        *["gcsmux-emulator /srv", "systemctl"],
    ]
    for block in blocks():
        assert any(part in line for part in tested for line in block), block


def test_continuous_integration_runs_the_two_commands() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    calls = [shlex.split(line, comments=True)[:2] for line in script if line.startswith("make")]
    assert calls == [["make", "test"], ["make", "demo"]]


@pytest.mark.mount
def test_the_mounts_shown_can_be_made(tmp_path: Path, emulator: EmulatorProcess) -> None:
    moves = {"/mnt/data": str(tmp_path / "data")}
    environment = {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint,
    }
    used = block_with("--metadata-ttl 10s")
    output = run(used, moves, environment)
    assert "logs" in output
    # The first thing shown is among what has just been run.
    assert set(blocks()[0]) <= {line.partition(" #")[0].strip() for line in used}


def test_the_emulator_shown_can_be_started(tmp_path: Path) -> None:
    (tmp_path / "buckets").mkdir()
    (line,) = block_with("gcsmux-emulator /srv")
    words = shlex.split(line.replace("/srv/buckets", str(tmp_path / "buckets")))
    words[words.index("--port") + 1] = "0"
    with subprocess.Popen(
        [COMMANDS / words[0], *words[1:]], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline().startswith("gcsmux-emulator listening on 127.0.0.1:")
        process.terminate()
    assert process.returncode == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="apt-get needs root")
def test_the_installation_shown_gives_a_working_command(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    moves = {"/opt/gcsmux": str(tmp_path / "opt"), "/usr/local/bin": str(programs)}
    run(block_with("apt-get"), moves, {"DEBIAN_FRONTEND": "noninteractive"})
    version = subprocess.run(
        [programs / "gcsmux-mount", "--version"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    assert "gcsmux-mount" in version.stdout


def test_the_unit_shown_is_installed_and_enabled(tmp_path: Path) -> None:
    moves = {
        "/etc/": f"{tmp_path}/etc/",
        "systemctl daemon-reload": "true",
        "systemctl enable --now": f"systemctl --root={tmp_path} enable",
    }
    run(block_with("systemctl"), moves, {})
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants/gcsmux@data.service"
    assert wants.is_symlink()
    assert (tmp_path / "etc/gcsmux/data.env").stat().st_mode & 0o777 == 0o600
