"""Open files: they read like any Python file, and each reads one generation."""

from __future__ import annotations

import errno
import gc
import io
import pickle
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.support.harness import wait_until
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from gcsmux_fs.fsspec_access.file_system import GcsmuxFileSystem
    from gcsmux_fs.fsspec_access.service_reader import ServiceReader
    from tests.support.emulator_process import EmulatorProcess

LINES = b"".join(b"%d" % number + b"x" * (number % 90) + b"\n" for number in range(20_000))

STEPS = st.lists(
    st.one_of(
        st.tuples(st.just("read"), st.integers(-1, 3000) | st.integers(200 * KIB, 400 * KIB)),
        st.tuples(st.just("readline"), st.integers(-1, 200)),
        st.tuples(st.just("seek"), st.integers(0, len(LINES) + 100)),
        st.tuples(st.just("readinto"), st.integers(0, 5000)),
        st.tuples(st.just("pread"), st.integers(0, len(LINES))),
    ),
    max_size=20,
)


def perform(file: Any, step: str, number: int) -> object:
    if step == "readinto":
        target = bytearray(number)
        return file.readinto(target), target
    if step == "pread":
        if isinstance(file, io.BytesIO):
            return file.getvalue()[number : number + 1000]
        return file.pread(1000, number)
    return getattr(file, step)(number)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps=STEPS, cache_type=st.sampled_from(["none", "readahead"]))
def test_a_file_reads_like_bytes_io(
    emulator: EmulatorProcess,
    fs: GcsmuxFileSystem,
    root: str,
    steps: list[tuple[str, int]],
    cache_type: str,
) -> None:
    if not emulator.bucket.joinpath("file").exists():
        emulator.place("file", LINES)
    expected = io.BytesIO(LINES)
    with fs.open(f"{root}/file", cache_type=cache_type) as file:
        for step, number in steps:
            assert perform(file, step, number) == perform(expected, step, number)
            assert file.tell() == expected.tell()


def test_lines_and_text(emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str) -> None:
    emulator.place("file", LINES)
    with fs.open(f"{root}/file") as file:
        assert list(file) == LINES.splitlines(keepends=True)
        assert file.read(10) == b""
    with fs.open(f"{root}/file", "r", encoding="ascii") as text:
        assert text.read() == LINES.decode()
    url = f"gcsmux://{root}/file"
    options = {"endpoint": emulator.endpoint, "plaintext": True, "token": "anon"}
    with fsspec.open(url, "rt", **options) as opened:
        assert opened.readline() == "0\n"
    assert fs.head(f"{root}/file", 5) == LINES[:5]
    assert fs.tail(f"{root}/file", 5) == LINES[-5:]


def test_sequential_reading_requests_each_byte_once(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    content = random.Random(3).randbytes(24 * MIB)
    emulator.place("file", content)
    emulator.statistics(reset=True)
    with fs.open(f"{root}/file") as file:
        parts = iter(lambda: file.read(100_000), b"")
        assert b"".join(parts) == content
        file.seek(1)
        assert file.read() == content[1:]
    assert emulator.statistics().bytes_asked == len(content)


def test_an_open_file_keeps_its_generation(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", b"old" * 20 * MIB)
    with fs.open(f"{root}/file") as file:
        assert file.read(3) == b"old"
        copy = pickle.loads(pickle.dumps(file))
        emulator.change("file", b"new" * 20 * MIB)
        fs.invalidate_cache()
        assert copy.tell() == 3
        with fs.open(f"{root}/file") as newer:
            assert newer.read(3) == b"new"
            assert newer.info()["generation"] != file.info()["generation"]
            assert newer != file
        with pytest.raises(OSError, match="Errno 116") as raised:
            file.read()
        assert raised.value.errno == errno.ESTALE
        copy.close()


def test_a_pickled_file_never_becomes_another_generation(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", b"old")
    with fs.open(f"{root}/file") as file:
        pickled = pickle.dumps(file)
    emulator.place("file", b"new")
    fs.invalidate_cache()
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)


def test_open_finds_an_overwritten_object_although_its_name_is_cached(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", b"old" * MIB)
    assert fs.info(f"{root}/file")["size"] == 3 * MIB
    emulator.place("file", b"newer" * MIB)
    with fs.open(f"{root}/file") as file:
        assert file.read() == b"newer" * MIB


def test_a_pickled_file_system_is_equal(fs: GcsmuxFileSystem) -> None:
    assert pickle.loads(pickle.dumps(fs)) is fs
    assert fsspec.AbstractFileSystem.from_json(fs.to_json()) is fs


def test_a_closed_file_is_not_read(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", LINES)
    file = fs.open(f"{root}/file")
    file.close()
    file.close()
    for call in (file.read, file.readline, lambda: file.pread(1, 0)):
        with pytest.raises(ValueError, match="closed"):
            call()


def test_collected_files_are_closed(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    emulator.place("file", LINES)

    async def open_files(reader: ServiceReader) -> int:
        return reader._context.resources.open_files

    gc.collect()
    files = [fs.open(f"{root}/file") for _ in range(5)]
    wait_until(lambda: fs._engine.call(open_files) == 5, "five open files")
    del files
    gc.collect()
    wait_until(lambda: fs._engine.call(open_files) == 0, "no open file")


def test_many_threads_read_one_file_system(
    emulator: EmulatorProcess, fs: GcsmuxFileSystem, root: str
) -> None:
    content = random.Random(4).randbytes(8 * MIB)
    emulator.place("file", content)
    shared = fs.open(f"{root}/file")

    def read(seed: int) -> None:
        numbers = random.Random(seed)
        with fs.open(f"{root}/file") as own:
            for _ in range(30):
                offset = numbers.randrange(8 * MIB)
                length = numbers.randrange(100 * KIB)
                assert shared.pread(length, offset) == content[offset : offset + length]
                own.seek(offset)
                assert own.read(length) == content[offset : offset + length]

    with shared, ThreadPoolExecutor(16) as threads:
        list(threads.map(read, range(16)))
    assert threading.active_count() < 30


@pytest.mark.parametrize("mode", ["wb", "ab", "r+b", "xb", "w"])
def test_a_file_is_not_opened_for_writing(fs: GcsmuxFileSystem, root: str, mode: str) -> None:
    with pytest.raises(OSError, match="read-only") as raised:
        fs.open(f"{root}/file", mode)
    assert raised.value.errno == errno.EROFS


@pytest.mark.parametrize(
    ("method", "arguments"),
    [
        ("pipe_file", ("x", b"content")),
        ("pipe", ("x", b"content")),
        ("put_file", ("/dev/null", "x")),
        ("put", (__file__, "x")),
        ("cp_file", ("file", "x")),
        ("copy", ("file", "x")),
        ("mv", ("file", "x")),
        ("rm", ("file",)),
        ("rm_file", ("file",)),
        ("delete", ("file",)),
        ("mkdir", ("x",)),
        ("makedirs", ("x",)),
        ("rmdir", ("x",)),
        ("touch", ("x",)),
        ("write_text", ("x", "content")),
    ],
)
def test_every_method_that_writes_is_refused(
    emulator: EmulatorProcess,
    fs: GcsmuxFileSystem,
    root: str,
    method: str,
    arguments: tuple[Any, ...],
) -> None:
    emulator.place("file", b"content")
    paths = [f"{root}/{each}" if each in ("x", "file") else each for each in arguments]
    with pytest.raises(OSError, match="read-only") as raised:
        getattr(fs, method)(*paths)
    assert raised.value.errno == errno.EROFS
    assert emulator.bucket.joinpath("file").read_bytes() == b"content"
