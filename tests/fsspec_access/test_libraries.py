"""pandas, pyarrow, zarr and torch read objects through gcsmux://."""

from __future__ import annotations

import importlib.util
import io
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.fsspec_access.libraries import library
from tests.support.emulator_process import END_SECONDS
from tests.support.sizes import KIB

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
    from tests.support.emulator_process import EmulatorProcess

ROWS = 200_000


@pytest.fixture
def storage_options(emulator: EmulatorProcess) -> dict[str, Any]:
    return {"endpoint": emulator.endpoint, "plaintext": True, "anonymous": True}


def table(start: int = 0) -> Any:
    pandas = library("pandas")
    numbers = range(start, start + ROWS)
    return pandas.DataFrame(
        {
            "number": numbers,
            "square": [float(number * number) for number in numbers],
            "text": [f"row {number}" for number in numbers],
        }
    )


def place_parquet(emulator: EmulatorProcess, name: str, frame: Any) -> int:
    library("pyarrow")
    buffer = io.BytesIO()
    frame.to_parquet(buffer, row_group_size=20_000)
    emulator.place(name, buffer.getvalue())
    return len(buffer.getvalue())


def test_pandas_reads_csv_and_parquet(
    emulator: EmulatorProcess, root: str, storage_options: dict[str, Any]
) -> None:
    pandas = library("pandas")
    frame = table()
    emulator.place("table.csv", frame.to_csv(index=False).encode())
    size = place_parquet(emulator, "table.parquet", frame)
    emulator.place("packed.csv.gz", _gzip(frame.to_csv(index=False).encode()))
    for name in ("table.csv", "packed.csv.gz"):
        read = pandas.read_csv(f"gcsmux://{root}/{name}", storage_options=storage_options)
        pandas.testing.assert_frame_equal(read, frame)
    emulator.statistics(reset=True)
    url = f"gcsmux://{root}/table.parquet"
    read = pandas.read_parquet(url, storage_options=storage_options)
    pandas.testing.assert_frame_equal(read, frame)
    assert emulator.statistics().bytes_asked <= size
    column = pandas.read_parquet(url, columns=["number"], storage_options=storage_options)
    pandas.testing.assert_frame_equal(column, frame[["number"]])


def _gzip(content: bytes) -> bytes:
    import gzip

    return gzip.compress(content, 1)


def test_pyarrow_reads_a_dataset(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    library("pyarrow")
    dataset, arrow_fs = library("pyarrow.dataset"), library("pyarrow.fs")
    frames = [table(start) for start in (0, ROWS)]
    for number, frame in enumerate(frames):
        place_parquet(emulator, f"data/part={number}/file.parquet", frame)
    filesystem = arrow_fs.PyFileSystem(arrow_fs.FSSpecHandler(fs))
    data = dataset.dataset(f"{root}/data", filesystem=filesystem, partitioning="hive")
    assert data.count_rows() == 2 * ROWS
    found = data.to_table(filter=dataset.field("number") == ROWS + 7, columns=["text", "part"])
    assert found.to_pylist() == [{"text": f"row {ROWS + 7}", "part": 1}]
    whole = data.to_table(columns=["square"]).column("square").to_pylist()
    assert whole == [float(number * number) for number in range(2 * ROWS)]
    with filesystem.open_input_file(f"{root}/data/part=0/file.parquet") as file:
        assert file.read_at(4, 0) == b"PAR1"


@pytest.mark.filterwarnings("default:.*:UserWarning")
def test_zarr_reads_arrays_with_and_without_shards(
    emulator: EmulatorProcess, root: str, storage_options: dict[str, Any], tmp_path: Path
) -> None:
    zarr, numpy = library("zarr"), library("numpy")
    values = numpy.arange(1_000_000, dtype="i8").reshape(1000, 1000)
    folder = tmp_path / "group.zarr"
    group = zarr.open_group(folder, mode="w")
    group.create_array("plain", data=values, chunks=(100, 100))
    group.create_array("sharded", data=values, chunks=(50, 50), shards=(500, 500))
    for path in (tmp_path / "group.zarr").rglob("*"):
        if path.is_file():
            emulator.place(
                f"group.zarr/{path.relative_to(tmp_path / 'group.zarr')}", path.read_bytes()
            )
    # zarr runs the coroutines of an asynchronous file system in an event loop of its own.
    read = zarr.open_group(f"gcsmux://{root}/group.zarr", mode="r", storage_options=storage_options)
    for name in ("plain", "sharded"):
        assert numpy.array_equal(read[name][:], values)
        assert numpy.array_equal(read[name][123:456, 7:900], values[123:456, 7:900])
        assert read[name][999, 999] == 999_999


TRAINING = """
import os, sys
import fsspec, torch
from torch.utils.data import DataLoader, Dataset

class Objects(Dataset):
    def __init__(self):
        self.fs = fsspec.filesystem("gcsmux")
        self.paths = self.fs.find(sys.argv[1])
        self.file = self.fs.open(self.paths[0])
        self.file.read(10)

    def __len__(self):
        return len(self.paths)

    def __getitem__(self, index):
        content = self.fs.cat_file(self.paths[index])
        self.file.seek(index)
        return len(content), content[0], self.file.read(1)[0]

if __name__ == "__main__":
    loader = DataLoader(
        Objects(), batch_size=8, num_workers=2, multiprocessing_context=sys.argv[2]
    )
    for epoch in range(2):
        rows = [row for batch in loader for row in zip(*(part.tolist() for part in batch))]
        print(rows)
"""


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_workers_of_a_torch_loader_read(
    emulator: EmulatorProcess, root: str, method: str, tmp_path: Path
) -> None:
    if importlib.util.find_spec("torch") is None:
        pytest.skip("torch is not installed, because it is large; test_processes.py has its forks")
    for number in range(32):
        emulator.place(f"{number:02}", bytes([number]) * 64 * KIB)
    script = tmp_path / "training.py"
    script.write_text(TRAINING)
    done = subprocess.run(
        [sys.executable, script, root, method],
        env=os.environ | {"STORAGE_EMULATOR_HOST_GRPC": emulator.endpoint},
        capture_output=True,
        text=True,
        timeout=3 * END_SECONDS,
        check=False,
    )
    rows = [(64 * KIB, number, 0) for number in range(32)]
    assert done.stdout == f"{rows}\n{rows}\n", done.stderr
