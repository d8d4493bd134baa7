"""Programs that read HDF5, Arrow, Parquet, archives, databases and a video."""

from __future__ import annotations

import io
import random
import sqlite3
import subprocess
import tarfile
import zipfile
from typing import TYPE_CHECKING

from tests.support.program_registry import program

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

# -- HDF5, Arrow and Parquet


def _write_hdf5(folder: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File(folder / "data.h5", "w") as file:
        data = file.create_dataset("x", (4096, 4096), np.float32, chunks=(256, 256))
        data[:] = np.ones((4096, 4096), np.float32)


@program(_write_hdf5)
def hdf5_slices(folder: Path) -> None:
    """Read 16 slices, each across 16 chunks of 256 KiB."""
    import h5py

    with h5py.File(folder / "data.h5", "r") as file:
        for i in range(16):
            file["x"][:, i * 256 : i * 256 + 8]


def _write_contiguous_hdf5(folder: Path) -> None:
    import h5py
    import numpy as np

    with h5py.File(folder / "data.h5", "w") as file:
        file["x"] = np.ones((256, 128, 512), np.float32)


@program(_write_contiguous_hdf5)
def hdf5_contiguous_slices(folder: Path) -> None:
    """Read 2 of 256 slices along the second axis, and then 20 whole planes in random order."""
    import h5py

    with h5py.File(folder / "data.h5", "r") as file:
        for i in (17, 90):
            file["x"][:, i, :]
        for i in random.Random(9).sample(range(256), 20):
            file["x"][i]


def _write_feather(folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    from pyarrow import feather

    table = pa.table({f"c{i:02}": np.zeros(600_000) for i in range(12)})
    feather.write_feather(table, folder / "data.feather", "uncompressed", chunksize=100_000)


@program(_write_feather)
def feather_columns_mapped(folder: Path) -> None:
    import pyarrow.compute as pc
    from pyarrow import feather

    table = feather.read_table(folder / "data.feather", ["c02", "c07"], memory_map=True)
    for name in ("c02", "c07"):
        pc.sum(table[name])


def _write_parquet(folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(5)
    table = pa.table({f"c{i:02}": rng.random(500_000) for i in range(20)})
    pq.write_table(table, folder / "data.parquet", compression="none", row_group_size=125_000)


@program(_write_parquet)
def parquet_columns(folder: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(folder / "data.parquet", columns=["c03", "c14"])


@program(_write_parquet)
def parquet_columns_mapped(folder: Path) -> None:
    import pyarrow.parquet as pq

    pq.read_table(folder / "data.parquet", columns=["c03", "c14"], memory_map=True)


def _write_row_groups(folder: Path) -> None:
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rng = np.random.default_rng(11)
    table = pa.table({f"c{i}": rng.random(800_000) for i in range(8)})
    pq.write_table(table, folder / "data.parquet", compression="snappy", row_group_size=20_000)


@program(_write_row_groups)
def parquet_batches(folder: Path) -> None:
    import pyarrow.parquet as pq

    for _ in pq.ParquetFile(folder / "data.parquet").iter_batches(columns=["c1", "c5"]):
        pass


# -- archives


def _write_members(add: Callable[[str, bytes], None]) -> None:
    rng = random.Random(6)
    for i in range(200):
        add(f"member{i:03}", bytes(rng.randrange(20_000, 200_000)))


def _write_zip(folder: Path) -> None:
    with zipfile.ZipFile(folder / "data.zip", "w") as archive:
        _write_members(archive.writestr)


@program(_write_zip)
def zip_all_members(folder: Path) -> None:
    with zipfile.ZipFile(folder / "data.zip") as archive:
        for name in archive.namelist():
            archive.read(name)


@program(_write_zip)
def zip_some_members(folder: Path) -> None:
    with zipfile.ZipFile(folder / "data.zip") as archive:
        for name in random.Random(7).sample(archive.namelist(), 30):
            archive.read(name)


def _write_tar(folder: Path) -> None:
    with tarfile.open(folder / "data.tar", "w") as archive:

        def add(name: str, content: bytes) -> None:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))

        _write_members(add)


@program(_write_tar)
def tar_all_members(folder: Path) -> None:
    with tarfile.open(folder / "data.tar") as archive:
        for member in archive:
            file = archive.extractfile(member)
            assert file is not None
            file.read()


@program(_write_tar)
def tar_list(folder: Path) -> None:
    with tarfile.open(folder / "data.tar") as archive:
        archive.getnames()


# -- databases


def _write_sqlite(folder: Path) -> None:
    with sqlite3.connect(folder / "data.db") as database:
        database.execute("CREATE TABLE t (id INTEGER PRIMARY KEY, text TEXT)")
        database.executemany(
            "INSERT INTO t VALUES (?, ?)", ((i, f"{i:0400}") for i in range(60_000))
        )


def _look_up(folder: Path, mapped_bytes: int) -> None:
    database = sqlite3.connect(f"file:{folder}/data.db?immutable=1&mode=ro", uri=True)
    database.execute(f"PRAGMA mmap_size={mapped_bytes}")
    rng = random.Random(8)
    for _ in range(120):
        database.execute("SELECT text FROM t WHERE id = ?", (rng.randrange(60_000),)).fetchone()


@program(_write_sqlite)
def sqlite_look_ups(folder: Path) -> None:
    _look_up(folder, 0)


@program(_write_sqlite)
def sqlite_look_ups_mapped(folder: Path) -> None:
    _look_up(folder, 1 << 30)


@program(_write_sqlite)
def sqlite_scan(folder: Path) -> None:
    database = sqlite3.connect(f"file:{folder}/data.db?immutable=1&mode=ro", uri=True)
    database.execute("SELECT sum(length(text)) FROM t").fetchone()


def _write_duckdb(folder: Path) -> None:
    import duckdb

    with duckdb.connect(str(folder / "data.duckdb")) as database:
        database.execute(
            "CREATE TABLE t AS SELECT i, random() a, hash(i) h FROM range(2000000) r(i)"
        )


@program(_write_duckdb)
def duckdb_column(folder: Path) -> None:
    import duckdb

    with duckdb.connect(str(folder / "data.duckdb"), read_only=True) as database:
        database.execute("SELECT sum(a) FROM t").fetchall()


def _write_lmdb(folder: Path) -> None:
    import lmdb

    with (
        lmdb.open(str(folder / "data.mdb"), map_size=1 << 30, subdir=False, lock=False) as database,
        database.begin(write=True) as transaction,
    ):
        for i in range(60_000):
            transaction.put(f"{i:08}".encode(), bytes(700))


@program(_write_lmdb)
def lmdb_look_ups(folder: Path) -> None:
    import lmdb

    with (
        lmdb.open(str(folder / "data.mdb"), subdir=False, lock=False, readonly=True) as database,
        database.begin() as transaction,
    ):
        for i in random.Random(12).sample(range(60_000), 150):
            transaction.get(f"{i:08}".encode())


# -- ffmpeg


def _ffmpeg(*arguments: str) -> None:
    from imageio_ffmpeg import get_ffmpeg_exe

    subprocess.run([get_ffmpeg_exe(), "-loglevel", "error", *arguments], check=True)


def _write_video(folder: Path) -> None:
    source = "nullsrc=s=640x480:d=8:r=25,geq=random(1)*255:128:128"
    _ffmpeg("-f", "lavfi", "-i", source, "-c:v", "mpeg4", "-b:v", "20M", f"{folder}/data.mp4")


@program(_write_video)
def ffmpeg_decode(folder: Path) -> None:
    _ffmpeg("-threads", "1", "-i", f"{folder}/data.mp4", "-c", "copy", "-f", "null", "-")


@program(_write_video)
def ffmpeg_seeks(folder: Path) -> None:
    for second in (6, 2, 4):
        _ffmpeg("-ss", str(second), "-i", f"{folder}/data.mp4", "-frames:v", "1", "-f", "null", "-")
