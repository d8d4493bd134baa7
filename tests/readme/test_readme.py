"""Tests that run the commands of README.md, except for `make`.

Continuous integration runs `make`. The tests replace all paths by paths in a temporary folder. They
call `systemctl` with --root, because no systemd runs in a container. The emulator serves the
buckets.
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
    """Return the lines of each shell block in README.md."""
    texts = re.findall(r"^```sh\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    return [text.splitlines() for text in texts]


def block_with(part: str) -> list[str]:
    """Return the lines of the only shell block that contains `part`."""
    (match,) = [block for block in blocks() if any(part in line for line in block)]
    return match


def run(lines: list[str], moves: dict[str, str], environment: dict[str, str]) -> str:
    """Run the lines in one shell, with the keys of `moves` replaced by their values.

    The first command that fails ends the shell and fails the test.
    """
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
    """Run the emulator with a bucket that has the name and the folders in README.md."""
    folder = tmp_path / "buckets"
    logs = folder / "my-bucket" / "logs" / "2026"
    logs.mkdir(parents=True)
    (logs / "first.log").write_text("a line\n")
    with EmulatorProcess(folder) as server:
        yield server


def test_every_block_belongs_to_a_test() -> None:
    tested = [
        *["gcsmux-mount my-bucket /mnt/data", "make demo", "make test", "apt-get", "umount"],
        *["gcsmux-emulator /srv", "systemctl"],
        *["gcsmux-mount --config", "gcsmux list"],
        # tests/mount/test_changes_document.py runs this block.
        "gcsmux changes setup",
        # tests/distribution/test_deb.py runs this block.
        "make deb",
    ]
    for block in blocks():
        assert any(part in line for part in tested for line in block), block


def test_continuous_integration_runs_make_test_and_make_demo() -> None:
    script = (ROOT / ".ci" / "run").read_text().splitlines()
    calls = [shlex.split(line, comments=True)[:2] for line in script if line.startswith("make")]
    targets = ["test", "package-test", "boot-test", "demo"]
    assert calls == [["make", target] for target in targets]


@pytest.mark.mount
def test_the_mount_commands_work(tmp_path: Path, emulator: EmulatorProcess) -> None:
    moves = {"/mnt/data": str(tmp_path / "data"), "/var/cache/gcsmux": str(tmp_path / "cache")}
    environment = {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint,
    }
    commands = block_with("--metadata-ttl 10s")
    output = run(commands, moves, environment)
    assert "logs" in output
    # This block contains all commands of the first block, so the first block needs no other test.
    assert set(blocks()[0]) <= {line.partition(" #")[0].strip() for line in commands}


@pytest.mark.mount
def test_the_configuration_and_the_commands_for_a_mount_work(
    tmp_path: Path, emulator: EmulatorProcess
) -> None:
    (tmp_path / "etc").mkdir()
    data = tmp_path / "data"
    data.mkdir()
    moves = {"/mnt/data": str(data), "/etc/gcsmux": str(tmp_path / "etc")}
    (content,) = re.findall(r"^```toml\n(.*?)^```", README, flags=re.MULTILINE | re.DOTALL)
    (tmp_path / "etc/data.toml").write_text(content.replace("/mnt/data", str(data)))
    environment = {
        "PATH": f"{COMMANDS}:{os.environ['PATH']}",
        "STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint,
    }
    *before, unmount = block_with("gcsmux-mount --config")
    # The second block needs a mount, so it runs before the unmount of the first one.
    commands = [f"trap '{unmount}' EXIT", *before, *block_with("gcsmux list")]
    output = run(commands, moves, environment)
    assert f"my-bucket on {data} " in output
    assert 'memory = "1GiB"' in output
    assert "1 of 1 file cached" in output
    assert output.endswith("debug\n")


def test_every_document_is_linked_and_every_link_exists() -> None:
    links = {link.partition("#")[0] for link in re.findall(r"\]\((?!https?:)([^)]*)\)", README)}
    assert {link for link in links if not (ROOT / link).exists()} == set()
    documents = {path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md")}
    assert documents - links == set()


def test_the_emulator_command_works(tmp_path: Path) -> None:
    create, line = block_with("gcsmux-emulator /srv")
    run([create], {"/srv/buckets": str(tmp_path / "buckets")}, {})
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
def test_the_installation_gives_a_working_command(tmp_path: Path) -> None:
    programs = tmp_path / "bin"
    programs.mkdir()
    moves = {"/opt/gcsmux": str(tmp_path / "opt"), "/usr/local/bin": str(programs)}
    run(block_with("apt-get update"), moves, {"DEBIAN_FRONTEND": "noninteractive"})
    version = subprocess.run(
        [programs / "gcsmux-mount", "--version"],
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=True,
    )
    assert "gcsmux-mount" in version.stdout


def test_the_systemd_commands_install_and_enable_the_unit(tmp_path: Path) -> None:
    moves = {
        "/etc/": f"{tmp_path}/etc/",
        "/mnt/": f"{tmp_path}/mnt/",
        '"${EDITOR:-vi}"': "test -w",
        "systemctl daemon-reload": "true",
        "systemctl enable --now": f"systemctl --root={tmp_path} enable",
    }
    run(block_with("systemctl"), moves, {})
    wants = tmp_path / "etc/systemd/system/multi-user.target.wants/gcsmux@data.service"
    assert wants.is_symlink()
    assert (tmp_path / "mnt/my-bucket").is_dir()
    assert (tmp_path / "etc/gcsmux/data.toml").stat().st_mode & 0o777 == 0o600
