"""Tests of a mount from a server whose messages claim, or decompress to, too many bytes."""

from __future__ import annotations

import subprocess
import sys
import zlib
from pathlib import Path

import pytest

from tests.support.sizes import MIB

from .hostile_server import hostile_server, message_frame

pytestmark = pytest.mark.mount

COMMAND = Path(sys.executable).with_name("gcsmux-mount")
LIMIT_SECONDS = 60
# Maximum memory of the mount process. Without any message, the process takes about 90 MiB.
MAX_BYTES = 200 * MIB


# A program that runs a command and prints the exit code and the peak memory of this command. The
# program runs in a separate, small process, because the peak memory of a process includes the
# memory of its parent at the fork.
MEASURE = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[2:], timeout=float(sys.argv[1]))
print(done.returncode, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def refused_start(endpoint: str, folder: Path) -> tuple[str, int]:
    """Run a mount whose start fails; return its message and its peak memory in bytes."""
    done = subprocess.run(
        [
            *(sys.executable, "-c", MEASURE, str(LIMIT_SECONDS)),
            *(COMMAND, "-f", "--plaintext", "--anonymous", f"--endpoint={endpoint}"),
            *("bucket", folder),
        ],
        capture_output=True,
        text=True,
        check=True,
    )
    (line,) = done.stderr.splitlines()
    exit_code, kibibytes = map(int, done.stdout.split())
    assert exit_code == 1
    return line, kibibytes * 1024


@pytest.mark.parametrize("claimed", [17 * MIB, 2**32 - 1])
def test_a_message_that_claims_gigabytes_allocates_nothing(tmp_path: Path, claimed: int) -> None:
    with hostile_server(message_frame(b"\x0a\x00", claimed=claimed)) as endpoint:
        line, memory = refused_start(endpoint, tmp_path)
    assert "larger than max" in line
    assert memory < MAX_BYTES


@pytest.mark.long
def test_a_compressed_message_that_is_too_large_is_refused(tmp_path: Path) -> None:
    packer = zlib.compressobj(9, wbits=31)
    packed = packer.compress(bytes(60 * MIB)) + packer.flush()
    bomb = message_frame(packed, compressed=True)
    with hostile_server(bomb, encoding="gzip") as endpoint:
        line, memory = refused_start(endpoint, tmp_path)
    assert "Decompressed message larger than max" in line
    assert memory < MAX_BYTES
