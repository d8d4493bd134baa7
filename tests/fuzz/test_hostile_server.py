"""A real mount before a server that claims, or unfolds into, more than a mount has memory for."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import zlib
from pathlib import Path

import pytest

from .hostile_server import hostile_server, message_frame

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
COMMAND = Path(sys.executable).with_name("gcsmux-mount")
LIMIT_SECONDS = 60
# A process that has loaded all it needs takes about 90 MiB.
MOST_BYTES = 200 * MIB


def refused(endpoint: str, folder: Path) -> tuple[str, int]:
    """Run a mount that fails to begin; return its sentence and the most memory it has had."""
    process = subprocess.Popen(
        [COMMAND, "-f", "--plaintext", "--anonymous", f"--endpoint={endpoint}", "bucket", folder],
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.stderr is not None
    killing = threading.Timer(LIMIT_SECONDS, process.kill)
    killing.start()
    with process.stderr as stderr:
        (line,) = stderr.read().splitlines()
    killing.cancel()
    killing.join()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 1
    return line, usage.ru_maxrss * 1024


@pytest.mark.parametrize("claimed", [17 * MIB, 2**31 - 1, 2**32 - 1])
def test_a_message_that_claims_gigabytes_gets_none(tmp_path: Path, claimed: int) -> None:
    with hostile_server(message_frame(b"\x0a\x00", claimed=claimed)) as endpoint:
        line, memory = refused(endpoint, tmp_path)
    assert "larger than max" in line
    assert memory < MOST_BYTES


def test_a_message_that_unfolds_into_gigabytes_gets_none(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(bytes(60 * MIB)) + packer.flush()
    bomb = message_frame(packed, compressed=True)
    with hostile_server(bomb, encoding="gzip") as endpoint:
        line, memory = refused(endpoint, tmp_path)
    assert "Decompressed message larger than max" in line
    assert memory < MOST_BYTES
