"""Programs whose READs are recorded: each reads files of a folder through a common library.

The recorder runs this file with a Python that has numpy, h5py, pyarrow, safetensors, duckdb, lmdb
and imageio-ffmpeg: `traced_programs.py prepare NAME FOLDER` writes the files, and
`traced_programs.py run NAME FOLDER` reads them. This file imports nothing of this project.
"""

from __future__ import annotations

import ctypes
import io
import mmap
import os
import random
import sqlite3
import subprocess
import sys
import tarfile
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

KIB = 1024
MIB = 1024 * KIB

_Step = tuple["Callable[[Path], None]", "Callable[[Path], None]"]
PROGRAMS: dict[str, _Step] = {}
"""For each program: the function that writes its files, and the function that reads them."""


def program(
    prepare: Callable[[Path], None],
) -> Callable[[Callable[[Path], None]], Callable[[Path], None]]:
    """Add a function to `PROGRAMS`, under its name; `prepare` writes its files."""

    def add(run: Callable[[Path], None]) -> Callable[[Path], None]:
        PROGRAMS[run.__name__] = (prepare, run)
        return run

    return add


# -- plain bytes


def zeros(size: int) -> Callable[[Path], None]:
    """Return a function that writes a sparse file `data` of `size` bytes."""

    def write(folder: Path) -> None:
        with (folder / "data").open("wb") as file:
            file.truncate(size)

    return write


@program(zeros(48 * MIB))
def sequential_read(folder: Path) -> None:
    with (folder / "data").open("rb", buffering=0) as file:
        while file.read(MIB):
            pass


@program(zeros(16 * MIB))
def backward_preads(folder: Path) -> None:
    file = os.open(folder / "data", os.O_RDONLY)
    for offset in range(16 * MIB - 64 * KIB, -1, -64 * KIB):
        os.pread(file, 64 * KIB, offset)


@program(zeros(300 * MIB))
def strided_preads(folder: Path) -> None:
    file = os.open(folder / "data", os.O_RDONLY)
    for offset in range(0, 300 * MIB, MIB):
        os.pread(file, 64 * KIB, offset)


@program(zeros(4096 * MIB))
def random_preads(folder: Path) -> None:
    file = os.open(folder / "data", os.O_RDONLY)
    rng = random.Random(1)
    for _ in range(150):
        os.pread(file, 4 * KIB, rng.randrange(4096 * MIB // 4096) * 4096)


@program(zeros(4096 * MIB))
def random_pages_mapped(folder: Path) -> None:
    """Touch single pages of a mapping, as lmdb does."""
    rng = random.Random(2)
    with (folder / "data").open("rb") as file:
        mapping = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        for _ in range(20):
            mapping[rng.randrange(4096 * MIB)]


def _read_blocks(files: list[int], size: int) -> None:
    """Read 1 MiB blocks in 8 threads: thread i reads the blocks i, i+8, i+16, ..."""

    def read(thread: int) -> None:
        for offset in range(thread * MIB, size, 8 * MIB):
            os.pread(files[thread % len(files)], MIB, offset)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


@program(zeros(40 * MIB))
def interleaved_one_descriptor(folder: Path) -> None:
    _read_blocks([os.open(folder / "data", os.O_RDONLY)], 40 * MIB)


@program(zeros(40 * MIB))
def interleaved_eight_descriptors(folder: Path) -> None:
    _read_blocks([os.open(folder / "data", os.O_RDONLY) for _ in range(8)], 40 * MIB)


@program(zeros(40 * MIB))
def shuffled_records(folder: Path) -> None:
    """Read all 256 KiB records in random order in 8 threads with one descriptor each."""
    offsets = list(range(0, 40 * MIB, 256 * KIB))
    random.Random(3).shuffle(offsets)

    def read(thread: int) -> None:
        file = os.open(folder / "data", os.O_RDONLY)
        for offset in offsets[thread::8]:
            os.pread(file, 256 * KIB, offset)

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(read, range(8)))


# -- numpy

_ROWS, _COLUMNS = 2000, 25_000


@program(zeros(_ROWS * _COLUMNS * 4))
def numpy_random_rows(folder: Path) -> None:
    import numpy as np

    rows = np.memmap(folder / "data", np.float32, "r", shape=(_ROWS, _COLUMNS))
    for row in random.Random(4).sample(range(_ROWS), 600):
        rows[row].sum()


@program(zeros(_ROWS * _COLUMNS * 4))
def numpy_column_slice(folder: Path) -> None:
    import numpy as np

    rows = np.memmap(folder / "data", np.float32, "r", shape=(_ROWS, _COLUMNS))
    for row in range(400):
        rows[row, 1000:2000].sum()


@program(zeros(1000 * 100 * KIB))
def numpy_rows_in_workers(folder: Path) -> None:
    """Read random rows of 100 KiB in 4 processes, as the workers of a data loader do."""
    import numpy as np

    rows = random.Random(10).sample(range(1000), 240)
    for worker in range(4):
        if os.fork() == 0:
            data = np.memmap(folder / "data", np.uint8, "r", shape=(1000, 100 * KIB))
            for row in rows[worker::4]:
                data[row].sum()
            os._exit(0)
    for _ in range(4):
        os.wait()


@program(zeros(32 * MIB))
def numpy_mapped_backward(folder: Path) -> None:
    import numpy as np

    np.array(np.memmap(folder / "data", np.uint8, "r")[::-1])


@program(zeros(48 * MIB))
def numpy_mapped_forward(folder: Path) -> None:
    import numpy as np

    np.memmap(folder / "data", np.float32, "r").sum()


def _write_npz(folder: Path) -> None:
    import numpy as np

    np.savez(folder / "data.npz", **{f"a{i}": np.zeros(MIB, np.uint8) for i in range(32)})


@program(_write_npz)
def numpy_npz_some_arrays(folder: Path) -> None:
    import numpy as np

    arrays = np.load(folder / "data.npz")
    for i in (20, 3, 7, 30, 11, 12):
        arrays[f"a{i}"].sum()


# -- safetensors

_TENSOR_SIZES = (8, 1, 1, 4, 2, 2, 1, 8, 1, 4, 1, 2, 2, 1, 8, 1, 1)


def _write_safetensors(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    tensors = {
        f"layer{i:02}.weight": np.zeros(size * MIB + 4096 * i, np.uint8)
        for i, size in enumerate(_TENSOR_SIZES)
    }
    save_file(tensors, folder / "model.safetensors")


@program(_write_safetensors)
def safetensors_load(folder: Path) -> None:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as model:
        for name in model.keys():  # noqa: SIM118
            model.get_tensor(name)


@program(_write_safetensors)
def safetensors_backward_copies(folder: Path) -> None:
    """Copy each tensor from its end to its start, as memmove does for some addresses."""
    import numpy as np

    content = np.memmap(folder / "model.safetensors", np.uint8, "r")
    length = int.from_bytes(bytes(content[:8]), "little")
    bytes(content[8 : 8 + length])
    start = 8 + length
    for i, size in enumerate(_TENSOR_SIZES):
        end = start + size * MIB + 4096 * i
        np.array(content[start:end][::-1])
        start = end


@program(_write_safetensors)
def safetensors_some_tensors(folder: Path) -> None:
    from safetensors import safe_open

    with safe_open(folder / "model.safetensors", "np") as model:
        names = sorted(model.keys())
        for i in (7, 2, 12, 14, 5):
            model.get_tensor(names[i])


def _write_matrices(folder: Path) -> None:
    import numpy as np
    from safetensors.numpy import save_file

    save_file(
        {f"m{i}": np.zeros((512, 16 * KIB), np.uint8) for i in range(4)}, folder / "m.safetensors"
    )


@program(_write_matrices)
def safetensors_column_slices(folder: Path) -> None:
    """Read a quarter of the columns of each matrix, as each of four workers does."""
    from safetensors import safe_open

    with safe_open(folder / "m.safetensors", "np") as model:
        for name in sorted(model.keys()):
            model.get_slice(name)[:, 4096:8192]


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


# -- memmove


@program(zeros(32 * MIB))
def memmove_of_mapping(folder: Path) -> None:
    """Copy 4 MiB parts of a mapping by memmove, as PyTorch and safetensors do."""
    with (folder / "data").open("rb") as file:
        mapping = mmap.mmap(
            file.fileno(), 0, flags=mmap.MAP_PRIVATE, prot=mmap.PROT_READ | mmap.PROT_WRITE
        )
        address = ctypes.addressof(ctypes.c_char.from_buffer(mapping))
        for offset in range(0, 32 * MIB, 4 * MIB):
            ctypes.memmove(ctypes.create_string_buffer(4 * MIB), address + offset, 4 * MIB)
        os._exit(0)


def main() -> None:
    step, name, folder = sys.argv[1:]
    prepare, run = PROGRAMS[name]
    (prepare if step == "prepare" else run)(Path(folder))


if __name__ == "__main__":
    main()
