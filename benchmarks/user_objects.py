"""The objects of the user programs: models, matrices, archives and small files.

Run as `user_objects.py FOLDER` with the interpreter of `.venv-programs`. Each kind of object has a
folder of its own, as in the buckets of users. Files with equal content are hard links to one file.
"""

from __future__ import annotations

import io
import json
import os
import sys
import tarfile
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from numpy.random import Generator

__all__ = ["BUCKET", "make"]

_KIB = 1024
_MIB = 1024 * _KIB

BUCKET = "bench-programs"
TENSOR_BYTES = 16 * _MIB
MODEL, MODEL_TENSORS = "model/model.safetensors", 43
SHARDS = tuple(f"shards/model-{n:05}-of-00008.safetensors" for n in range(1, 9))
SHARD_TENSORS = 4
MATRIX, MATRIX_ROWS, MATRIX_ROW_BYTES = "matrix/matrix.npy", 2_000, 100_000
# 4 x 4 x 8 chunks of 1 MiB. The chunks of one slice are 8 MiB apart in the file.
VOLUME, VOLUME_SHAPE, VOLUME_CHUNK = "volume/volume.h5", (256, 256, 512), (64, 64, 64)
TABLE = "table/table.parquet"  # 20 columns of 8 MB, in 10 row groups
RECORDS, RECORDS_BYTES = "records/records.bin", 512 * _MIB
BLOCK, BLOCK_BYTES = "block/block.bin", 64 * _MIB
ARCHIVE = "archive/archive.tar"  # 256 files of 1 MiB
PAGES, PAGES_BYTES = "pages/pages", 4096 * _MIB  # sparse
SMALL, SMALL_BYTES = "small", 64 * _KIB
SMALL_NAMES = tuple(f"{SMALL}/{n:05}" for n in range(2_000))
HEAD_NAMES = tuple(f"heads/{n:03}.dat" for n in range(300))  # 1 MB each
MEDIA_NAMES = tuple(f"media/{n:02}.dat" for n in range(20))  # 20 MB each
_LARGE = (MODEL, SHARDS[0], MATRIX, VOLUME, TABLE, RECORDS, BLOCK, ARCHIVE)
_SETS = (SMALL_NAMES[0], HEAD_NAMES[0], MEDIA_NAMES[0])
# The folders of all objects but the sparse one.
FOLDERS = tuple(name.partition("/")[0] for name in (*_LARGE, *_SETS))

# fake-gcs-server, from which rclone reads, hides files without this extended attribute.
_METADATA = json.dumps(
    {
        "ContentType": "application/octet-stream",
        "Created": "2026-01-01T00:00:00Z",
        "Updated": "2026-01-01T00:00:00Z",
        "Generation": 1,
    }
).encode()


def _links(bucket: Path, names: tuple[str, ...], content: bytes) -> None:
    """Write one file, and hard links to it under the other names."""
    first, *others = (bucket / name for name in names)
    first.write_bytes(content)
    for path in others:
        os.link(first, path)


def _tensors(path: Path, count: int, source: Generator) -> None:
    from safetensors.numpy import save_file

    shape = (4, TENSOR_BYTES // 16)
    save_file({f"layer.{n:02}.weight": source.random(shape, "f4") for n in range(count)}, path)


def _volume(path: Path, source: Generator) -> None:
    import h5py

    with h5py.File(path, "w") as file:
        file.create_dataset("volume", data=source.random(VOLUME_SHAPE, "f4"), chunks=VOLUME_CHUNK)


def _table(path: Path, source: Generator) -> None:
    import pyarrow as pa
    from pyarrow import parquet

    columns = {f"c{n:02}": source.random(1_000_000) for n in range(20)}
    parquet.write_table(
        pa.table(columns), path, row_group_size=100_000, use_dictionary=False, compression="none"
    )


def _archive(path: Path, source: Generator) -> None:
    content = source.bytes(_MIB)
    with tarfile.open(path, "w") as archive:
        for number in range(256):
            member = tarfile.TarInfo(f"{number:06}.jpg")
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))


def make(bucket: Path) -> None:
    """Create the bucket with all its objects, about 2 GB on the disk."""
    import numpy as np

    source = np.random.default_rng(1)
    for folder in (*FOLDERS, "pages"):
        (bucket / folder).mkdir(parents=True)
    _tensors(bucket / MODEL, MODEL_TENSORS, source)
    _tensors(bucket / SHARDS[0], SHARD_TENSORS, source)
    for name in SHARDS[1:]:
        os.link(bucket / SHARDS[0], bucket / name)
    np.save(bucket / MATRIX, source.random((MATRIX_ROWS, MATRIX_ROW_BYTES // 4), "f4"))
    _volume(bucket / VOLUME, source)
    _table(bucket / TABLE, source)
    _archive(bucket / ARCHIVE, source)
    (bucket / RECORDS).write_bytes(source.bytes(RECORDS_BYTES))
    (bucket / BLOCK).write_bytes(source.bytes(BLOCK_BYTES))
    with (bucket / PAGES).open("wb") as file:
        file.truncate(PAGES_BYTES)
    _links(bucket, SMALL_NAMES, source.bytes(SMALL_BYTES))
    _links(bucket, HEAD_NAMES, source.bytes(1_000_000))
    _links(bucket, MEDIA_NAMES, source.bytes(20_000_000))
    for path in bucket.rglob("*"):
        if path.is_file():
            os.setxattr(path, "user.metadata", _METADATA)


if __name__ == "__main__":
    make(Path(sys.argv[1]))
