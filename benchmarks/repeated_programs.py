"""Programs that read the same files again and again, for the traces of ranges.

    repeated_programs.py make FOLDER
    repeated_programs.py PROGRAM FOLDER

Run with an interpreter that has numpy, pyarrow, safetensors, duckdb and ripgrep. The files are a
hundredth of real ones. After each run of a program, the kernel forgets the pages of the files, as
if the files were larger than the memory.
"""

from __future__ import annotations

import os
import random
import shutil
import subprocess
import sys
import sysconfig
import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__: list[str] = []

_MIB = 1024 * 1024
_PROGRAM_DIRECTORY = Path(sys.executable).parent

IMAGES, IMAGES_MOST_BYTES = 1500, 160 * 1024
SHARDS, SHARD_BYTES = 24, 10 * _MIB
RECORDS, RECORD_BYTES = 4, 256 * 1024
RECORDS_BYTES = 64 * _MIB
TABLES, TABLE_ROWS, COLUMNS = 8, 200_000, 12
MODELS, TENSORS, TENSOR_BYTES = 5, 12, 4 * _MIB
ARCHIVES, ARCHIVE_BYTES = 40, 16 * _MIB


def make(folder: Path) -> None:
    """Create the files, 1.6 GB."""
    import numpy as np
    import pyarrow as pa
    from pyarrow import parquet
    from safetensors.numpy import save_file

    source = np.random.default_rng(1)
    names = ("images", "shards", "records", "tables", "tree", "models", "archives")
    images, shards, records, tables, tree, models, archives = (folder / name for name in names)
    for each in (images, shards, records, tables, models, archives):
        each.mkdir(parents=True)
    for number in range(IMAGES):
        size = int(source.integers(8 * 1024, IMAGES_MOST_BYTES))
        (images / f"{number:05}.jpg").write_bytes(source.bytes(size))
    for number in range(SHARDS):
        (shards / f"shard-{number:05}.tar").write_bytes(source.bytes(SHARD_BYTES))
    for number in range(RECORDS):
        (records / f"records-{number}.bin").write_bytes(source.bytes(RECORDS_BYTES))
    for number in range(TABLES):
        columns = {f"c{n:02}": source.random(TABLE_ROWS) for n in range(COLUMNS)}
        columns["day"] = np.sort(source.integers(0, 365, TABLE_ROWS))
        path = tables / f"table-{number}.parquet"
        parquet.write_table(pa.table(columns), path, row_group_size=20_000, compression="none")
    for number in range(MODELS):
        shape = (4, TENSOR_BYTES // 16)
        tensors = {f"layer.{n:02}": source.random(shape, "f4") for n in range(TENSORS)}
        save_file(tensors, models / f"model-{number}.safetensors")
    for number in range(ARCHIVES):
        (archives / f"archive-{number:03}.bin").write_bytes(source.bytes(ARCHIVE_BYTES))
    library = sysconfig.get_path("stdlib")
    ignored = shutil.ignore_patterns("site-packages", "__pycache__", "test", "config-*", "*.a")
    shutil.copytree(library, tree, ignore=ignored)


def _forget(folder: Path) -> None:
    """Make the kernel forget the pages of all files of a folder."""
    for path in folder.rglob("*"):
        if path.is_file():
            descriptor = os.open(path, os.O_RDONLY)
            os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
            os.close(descriptor)


def _read_whole(path: Path) -> None:
    with path.open("rb", buffering=0) as file:
        while file.read(_MIB):
            pass


def _shuffled(folder: Path, epoch: int) -> list[Path]:
    paths = sorted(folder.iterdir())
    random.Random(epoch).shuffle(paths)
    return paths


def _images(folder: Path, epochs: int = 4) -> None:
    """Train on images: each epoch reads all files in another order, by 8 threads."""
    for epoch in range(epochs):
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(_read_whole, _shuffled(folder / "images", epoch)))
        _forget(folder / "images")


def _shards(folder: Path, epochs: int = 5) -> None:
    """Train on shards: each epoch reads all archives in another order, by 2 threads."""
    for epoch in range(epochs):
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(_read_whole, _shuffled(folder / "shards", epoch)))
        _forget(folder / "shards")


def _read_record(place: tuple[Path, int]) -> None:
    path, offset = place
    with path.open("rb", buffering=0) as file:
        os.pread(file.fileno(), RECORD_BYTES, offset)


def _records(folder: Path, epochs: int = 3) -> None:
    """Train on records of large files: each epoch reads all records in another order."""
    paths = sorted((folder / "records").iterdir())
    places = [(path, offset) for path in paths for offset in range(0, RECORDS_BYTES, RECORD_BYTES)]
    for epoch in range(epochs):
        random.Random(epoch).shuffle(places)
        with ThreadPoolExecutor(8) as pool:
            list(pool.map(_read_record, places))
        _forget(folder / "records")


def _query(folder: Path, source: random.Random) -> None:
    """Run one query of a dashboard with DuckDB: few tables and few columns are popular."""
    import duckdb

    table = min(int(source.expovariate(0.5)), TABLES - 1)
    columns = {min(int(source.expovariate(0.4)), COLUMNS - 1) for _ in range(3)}
    first = source.choice([0, 180, 270, 330, 350])
    sums = ", ".join(f"sum(c{column:02})" for column in sorted(columns))
    path = folder / "tables" / f"table-{table}.parquet"
    with duckdb.connect() as connection:
        connection.execute(f"select {sums} from '{path}' where day >= {first}").fetchall()
    _forget(folder / "tables")


def _queries(folder: Path, count: int = 120) -> None:
    """Refresh a dashboard."""
    source = random.Random(1)
    for _ in range(count):
        _query(folder, source)


def _search(folder: Path, count: int = 4) -> None:
    """Search a source tree with ripgrep."""
    for number in range(count):
        pattern = ["import socket", "class .*Error", "TODO", "deprecated"][number % 4]
        rg, tree = f"{_PROGRAM_DIRECTORY}/rg", f"{folder}/tree"
        command = [rg, "--no-ignore", "--count", pattern, tree]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        _forget(folder / "tree")


def _load(folder: Path, number: int) -> None:
    from safetensors import safe_open

    path = folder / "models" / f"model-{number}.safetensors"
    with safe_open(path, framework="numpy") as file:
        for name in file.keys():  # noqa: SIM118
            file.get_tensor(name)
    _forget(folder / "models")


def _models(folder: Path, count: int = 20) -> None:
    """Start servers with models, few of which are popular."""
    source = random.Random(1)
    for _ in range(count):
        _load(folder, min(int(source.expovariate(0.6)), MODELS - 1))


def _back_up(folder: Path) -> None:
    """Copy the archives with rsync."""
    with tempfile.TemporaryDirectory() as target:
        subprocess.run(["rsync", "--archive", f"{folder}/archives/", target], check=True)


def _backup_beside_queries(folder: Path) -> None:
    """Back up a folder with rsync while a dashboard is refreshed."""
    source = random.Random(2)
    for _ in range(40):
        _query(folder, source)
    with ThreadPoolExecutor(1) as pool:
        backup = pool.submit(_back_up, folder)
        while not backup.done():
            _query(folder, source)
        backup.result()
    for _ in range(40):
        _query(folder, source)


def _archive_between_loads(folder: Path) -> None:
    """Load models, archive a folder with tar, and load the models again."""
    source = random.Random(3)
    for number in (0, 1, 0, 1, 0, 1):
        _load(folder, number)
    command = ["tar", "--create", "--file=-", "-C", f"{folder}", "archives"]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as tar:
        assert tar.stdout is not None
        while tar.stdout.read(_MIB):
            pass
    for _ in range(6):
        _load(folder, source.choice([0, 1]))


PROGRAMS: dict[str, Callable[[Path], None]] = {
    "images": _images,
    "shards": _shards,
    "records": _records,
    "queries": _queries,
    "search": _search,
    "models": _models,
    "backup-beside-queries": _backup_beside_queries,
    "archive-between-loads": _archive_between_loads,
}


if __name__ == "__main__":
    if sys.argv[1] == "make":
        make(Path(sys.argv[2]))
    else:
        PROGRAMS[sys.argv[1]](Path(sys.argv[2]))
