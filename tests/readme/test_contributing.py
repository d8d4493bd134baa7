"""Tests that run the commands and the code of CONTRIBUTING.md, in the order of the document."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
DOCUMENT = (ROOT / "CONTRIBUTING.md").read_text()
TIMEOUT_SECONDS = 120


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", DOCUMENT, flags=re.MULTILINE | re.DOTALL)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port: int = server.getsockname()[1]
    return port


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may abort a mount")
def test_the_shell_blocks_work(tmp_path: Path) -> None:
    bootstrap, _tests, serve, metrics, clean_up, check, abort = blocks("sh")
    assert bootstrap == "scripts/bootstrap\n"
    script = "".join(
        ["set -eu\n", serve, metrics, check, abort, clean_up.replace("umount", "true")]
    )
    script = script.replace("/tmp/gcsmux", str(tmp_path)).replace("9000", str(free_port()))
    result = subprocess.run(
        ["bash", "-c", script],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=TIMEOUT_SECONDS,
        check=False,
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "hello" in result.stdout
    assert "read_seconds" in result.stdout
    assert str(tmp_path) not in Path("/proc/self/mountinfo").read_text()


def test_the_example_of_a_metric_works() -> None:
    (example,) = blocks("python")
    exec(compile(example, "CONTRIBUTING.md", "exec"), {})


def test_the_named_files_and_targets_exist() -> None:
    for name in re.findall(r"`((?:gcsmux_fs|tests|scripts|docs)/[^ `*]*)`", DOCUMENT):
        assert (ROOT / name).exists(), name
    makefile = (ROOT / "Makefile").read_text()
    for target in re.findall(r"`make ([a-z-]+)", DOCUMENT):
        assert re.search(rf"^{target}:", makefile, flags=re.MULTILINE), target
