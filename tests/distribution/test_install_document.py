"""Runs the commands of docs/INSTALL.md, with all paths moved to a temporary folder.

tests/distribution/test_deb.py runs the commands of the Debian package.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.distribution.conftest import ROOT, TIMEOUT_SECONDS, exclusive_checkout

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.package]

DOCUMENT = (ROOT / "docs" / "INSTALL.md").read_text()
BLOCKS = re.findall(r"^```sh\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)


@pytest.mark.skipif(os.geteuid() != 0, reason="apt-get needs root")
def test_the_commands_install_and_remove_everything(tmp_path: Path) -> None:
    debian, wheel, share, helper, install, uninstall, remove = BLOCKS
    assert debian == "make deb\napt-get install -y ./dist/gcsmux_*.deb\n"
    for folder in ("usr/local/bin", "usr/local/share", "sbin", "etc/systemd/system", "opt"):
        (tmp_path / folder).mkdir(parents=True)
    before = files(tmp_path)
    with exclusive_checkout():
        run(wheel, tmp_path)
    version = run("gcsmux --version", tmp_path)
    assert version.startswith("gcsmux, version ")
    run(share, tmp_path)
    assert (tmp_path / "usr/local/share/man/man8/gcsmux-mount.8").exists()
    assert (tmp_path / "usr/local/share/bash-completion/completions/gcsmux").exists()
    run(helper, tmp_path)
    assert "MOUNTPOINT" in run("/sbin/mount.gcsmux --help", tmp_path)
    run(install.replace("--now", "--enable --yes"), tmp_path)
    unit = (tmp_path / "etc/systemd/system/gcsmux@.service").read_text()
    assert f"ExecStart={tmp_path}/usr/local/bin/gcsmux-mount " in unit
    assert (tmp_path / "mnt/data").is_dir()
    run(f"{uninstall.strip()} --yes\n", tmp_path)
    run(remove, tmp_path)
    assert files(tmp_path) == before


def files(folder: Path) -> set[Path]:
    return {path for path in folder.rglob("*") if not path.is_dir()}


def run(script: str, folder: Path) -> str:
    """Run a script with its paths below `folder`, and return its output; it must succeed."""
    moved = re.sub(r"(?<=\s)/(opt|usr|sbin)/", rf"{folder}/\1/", f" {script}")
    moved = re.sub(r"(gcsmux (?:un)?install-unit)", rf"\1 --root={folder}", moved)
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", moved],
        cwd=ROOT,
        env=os.environ
        | {"PATH": f"{folder}/usr/local/bin:{os.environ['PATH']}"}
        | {"DEBIAN_FRONTEND": "noninteractive"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert done.returncode == 0, f"{moved}\n{done.stdout}\n{done.stderr}"
    return done.stdout
