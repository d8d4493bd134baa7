"""fio reads blocks with every I/O engine and verifies their checksums."""

from __future__ import annotations

import json
import shutil
import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.support.harness import END_SECONDS

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

# The I/O engine and O_DIRECT, by object name. Each combination reads its own object, so that
# the page cache holds no pages of this object that another combination has read.
ENGINES = {
    f"{engine}-{'direct' if direct else 'buffered'}": (engine, direct)
    for engine in ("io_uring", "libaio", "mmap", "splice")
    for direct in (False, True)
}
SIZE = 2 * 1024 * 1024
EILSEQ = 84


def write_verifiable(path: Path) -> None:
    """Let fio write a file in blocks of 4 KiB, each of which contains its checksum."""
    command = ["fio", "--name=write", f"--filename={path}", "--rw=write", "--bs=4k"]
    command += [f"--size={SIZE}", "--verify=crc32c", "--do_verify=0", "--verify_state_save=0"]
    subprocess.run(command, stdout=subprocess.DEVNULL, timeout=END_SECONDS, check=True)


def verify(mounted: MountProcess, suffix: str = "") -> dict[str, tuple[int, int]]:
    """Let fio read and verify objects in random order; return each engine's errno and bytes read.

    `fio --verify_only` cannot be used, because it opens files for writing. Without
    `--verify_fatal`, fio would print a message for a wrong block and continue.
    """
    command = ["fio", "--readonly", "--rw=randread", "--bs=32k", f"--size={SIZE}", "--iodepth=8"]
    command += ["--verify=crc32c", "--verify_interval=4k", "--verify_fatal=1"]
    command += ["--verify_state_save=0", "--output-format=json"]
    for way, (engine, direct) in ENGINES.items():
        command += [f"--name={way}", f"--filename={way}{suffix}"]
        command += [f"--ioengine={engine}", f"--direct={direct:d}"]
    done = mounted.run(*command)
    # Skip the notes that fio may print before the JSON.
    report = json.loads(done.stdout[done.stdout.index(b"{") :])
    return {job["jobname"]: (job["error"], job["read"]["io_bytes"]) for job in report["jobs"]}


@pytest.mark.long
def test_every_engine_of_fio_reads_the_blocks_that_fio_wrote(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    write_verifiable(folder / "right")
    content = bytearray((folder / "right").read_bytes())
    content[SIZE // 2 + 1000] ^= 1
    for way in ENGINES:
        shutil.copy(folder / "right", emulator.bucket / way)
        emulator.place(f"{way}-wrong", bytes(content))
    with mount() as mounted:
        assert verify(mounted) == dict.fromkeys(ENGINES, (0, SIZE))
        # With every engine, fio detects one wrong bit. So fio has really verified the bytes that it
        # has read.
        assert {way: error for way, (error, _) in verify(mounted, "-wrong").items()} == (
            dict.fromkeys(ENGINES, EILSEQ)
        )
