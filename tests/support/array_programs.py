"""Programs that read plain files, numpy arrays and safetensors files."""

from __future__ import annotations

import ctypes
import mmap
import os
import random
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

from tests.support.program_registry import program, zeros
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from pathlib import Path

# -- plain bytes


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
