"""Writes to a cache directory as fast as it can: `writing_mount.py DIRECTORY SIZE SEED`."""

from __future__ import annotations

import itertools
import os
import random
import sys
import time
from pathlib import Path

from gcsmux_fs.caching.chunk_format import ChunkId
from gcsmux_fs.caching.cleaner import Cleaner
from gcsmux_fs.caching.real_cache_files import RealCacheFiles
from gcsmux_fs.caching.space_account import SpaceAccount
from tests.caching.cleaning import KIB

__all__: list[str] = []


def main(directory: Path, size: int, seed: int) -> None:
    files = RealCacheFiles(os.open(directory, os.O_RDONLY | os.O_DIRECTORY), ".")
    account = SpaceAccount(files, size_bytes=size, min_free_bytes=0, clock=time.time)
    source = random.Random(seed)
    cleaner = Cleaner(
        files,
        account,
        clock=time.time,
        processor_time=time.thread_time,
        random=source,
        boot=bytes(16),
        remove=lambda chunk: files.remove(chunk.path),
    )
    content = bytes(512 * KIB)
    for number in itertools.count():
        if number % 8 == 0:
            account.flush()
            cleaner.run_once()
        chunk = ChunkId(source.randbytes(16), 0)
        length = source.choice((16, 64, 512)) * KIB
        if account.admit(chunk, length + 8 * KIB):
            files.make_directory(f"chunks/{chunk.shard:02x}")
            (directory / chunk.path).write_bytes(content[:length])
            status = files.path_status(chunk.path)
            if status is not None:
                account.wrote(chunk, status.allocated_bytes, status.allocated_bytes)
                account.publish()
        else:
            time.sleep(0.001)


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
