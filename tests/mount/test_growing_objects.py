"""Objects to which a writer still appends. The size of an open file never changes.

If a lookup finds a new size, the kernel gets a new inode for this size. Every way to read an open
file returns the bytes of the size that the file had at its open. To see more bytes, a program opens
the name again.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from tests.support import programs, read_methods
from tests.support.harness import END_SECONDS, EmulatorProcess, MountProcess, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.support.harness import NewMount, Program

pytestmark = pytest.mark.mount

CONTENT = programs.tagged(1, 0, 900_000)
FIRST_BYTES = 100
MORE_BYTES = 9_000
ALL_WAYS = [*read_methods.WAYS, *read_methods.MAPPINGS]
TTLS = ["0", "1s"]


def grow(emulator: EmulatorProcess, name: str, generation: int, before: int, after: int) -> None:
    emulator.append(name, CONTENT[before:after], generation=generation, offset=before)


def begin(emulator: EmulatorProcess, name: str, size: int = FIRST_BYTES) -> int:
    return emulator.append(name, CONTENT[:size])


def open_at(program: Program, path: str, size: int) -> int:
    """Wait until stat shows `size` bytes; then open the file and return its descriptor."""
    wait_until(lambda: program.call(os.stat, path).st_size == size, f"the size is {size}")
    descriptor = program.call(os.open, path, os.O_RDONLY)
    assert program.call(os.fstat, descriptor).st_size == size
    return descriptor


# -- lookups


@pytest.mark.parametrize("ttl", ["0", "minimal"])
def test_an_object_that_grows_shows_its_new_bytes(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    # No size here is a multiple of the size of a page or of a cache block.
    sizes = [10, 5_000, 70_001, 300_000, len(CONTENT)]
    generation = begin(emulator, "growing", sizes[0])
    with mount("--metadata-ttl", ttl) as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        assert program.call(programs.read_whole, path) == CONTENT[: sizes[0]]
        for before, after in itertools.pairwise(sizes):
            grow(emulator, "growing", generation, before, after)
            program.call(os.close, open_at(program, path, after))
            assert program.call(programs.read_whole, path) == CONTENT[:after]


def test_each_size_has_an_inode_of_its_own(emulator: EmulatorProcess, mount: NewMount) -> None:
    generation = begin(emulator, "growing")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        looks = [program.call(os.stat, path) for _ in range(3)]
        grow(emulator, "growing", generation, FIRST_BYTES, MORE_BYTES)
        looks += [program.call(os.stat, path) for _ in range(3)]
        numbers = [look.st_ino for look in looks]
        assert [look.st_size for look in looks] == 3 * [FIRST_BYTES] + 3 * [MORE_BYTES]
        assert numbers == 3 * [numbers[0]] + 3 * [numbers[-1]]
        assert numbers[0] != numbers[-1]


def test_cp_and_install_copy_a_growing_object(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    generation = begin(emulator, "growing", 1000)
    # cp and install look the name up twice, and refuse to copy if the inode changes between the two
    # lookups. On an idle machine they refuse at most one copy in ten; on a busy machine they refuse
    # more copies.
    script = 'for n in $(seq 40); do cp mnt/growing "cp-$n"; install mnt/growing "install-$n"; done'
    with mount("--metadata-ttl", "0") as mounted:
        copier = subprocess.Popen(["sh", "-c", script], cwd=mounted.folder, stderr=subprocess.PIPE)
        size = 1000
        while copier.poll() is None and size < len(CONTENT):
            grow(emulator, "growing", generation, size, size + 500)
            size += 500
        _, complaints = copier.communicate(timeout=60)
        copies = [path.read_bytes() for path in mounted.folder.glob("*-*")]
    refused = complaints.count(b"as it was replaced while being copied\n")
    assert refused == complaints.count(b"\n")
    assert len(copies) == 80 - refused > 0
    assert all(copy == CONTENT[: len(copy)] for copy in copies)


# -- open files


@pytest.mark.parametrize("ttl", TTLS)
def test_every_way_to_read_returns_the_bytes_of_the_opened_size(
    emulator: EmulatorProcess, mount: NewMount, ttl: str
) -> None:
    # There is an object for each way to read, so that no way finds pages that another way has read
    # into the page cache.
    names = {way: f"for-{way.replace(' ', '-')}" for way in ALL_WAYS}
    generations = {name: begin(emulator, name) for name in names.values()}
    with mount("--metadata-ttl", ttl) as mounted, mounted.program() as program:
        paths = {way: f"{mounted.path}/{name}" for way, name in names.items()}
        before = {way: open_at(program, path, FIRST_BYTES) for way, path in paths.items()}
        for name, generation in generations.items():
            grow(emulator, name, generation, FIRST_BYTES, MORE_BYTES)
        after = {way: open_at(program, path, MORE_BYTES) for way, path in paths.items()}
        wrong = {}
        for way in ALL_WAYS:
            # The first read finds an empty page cache. The second read finds the pages of the
            # first.
            for descriptor, size in 2 * [(before[way], FIRST_BYTES), (after[way], MORE_BYTES)]:
                found = program.call(read_methods.whole_by, way, descriptor)
                status = program.call(os.fstat, descriptor)
                if (found, status.st_size) != (CONTENT[:size], size):
                    wrong[way, size] = len(found), found.count(0), status.st_size
        assert wrong == {}, "wrong reads by way and size: bytes read, zeros, size by fstat"


def test_an_open_file_keeps_its_size_when_the_object_is_finalized(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    generation = begin(emulator, "growing")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        before = open_at(program, path, FIRST_BYTES)
        end = CONTENT[FIRST_BYTES:MORE_BYTES]
        emulator.append("growing", end, generation=generation, offset=FIRST_BYTES, finish=True)
        after = open_at(program, path, MORE_BYTES)
        for way in ALL_WAYS:
            for descriptor, size in ((before, FIRST_BYTES), (after, MORE_BYTES)):
                assert program.call(read_methods.whole_by, way, descriptor) == CONTENT[:size]
                assert program.call(os.fstat, descriptor).st_size == size


def test_a_lookup_in_flight_changes_no_open_file(folder: Path) -> None:
    with (
        EmulatorProcess(folder / "buckets", ["--latency", "50ms"]) as emulator,
        MountProcess(emulator, folder, ["--metadata-ttl", "0"]) as mounted,
        mounted.program() as program,
    ):
        for way in ("sendfile", "private mapping", "pread"):
            name = way.replace(" ", "-")
            path = f"{mounted.path}/{name}"
            generation = begin(emulator, name)
            descriptor = program.call(os.open, path, os.O_RDONLY)
            for before, after in itertools.pairwise([FIRST_BYTES, 4096, MORE_BYTES]):
                grow(emulator, name, generation, before, after)
                found, size = program.call(read_methods.stat_and_read, path, descriptor, way)
                assert (found, size) == (CONTENT[:FIRST_BYTES], FIRST_BYTES), way


def test_lookups_during_a_read_leave_no_zeros_in_the_page_cache(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with (
        mount("--metadata-ttl", "0") as mounted,
        mounted.program() as holder,
        mounted.program() as other,
    ):
        generation = begin(emulator, "growing")
        path = f"{mounted.path}/growing"
        descriptor = holder.call(os.open, path, os.O_RDONLY)
        grow(emulator, "growing", generation, FIRST_BYTES, MORE_BYTES)
        assert other.call(os.stat, path).st_size == MORE_BYTES
        # Call stat during each read. If a READ returns too few bytes, the kernel shortens the file,
        # but not if the attributes have changed during the READ. Then zeros could stay in the page
        # cache.
        for _ in range(5):
            holder.begin(os.pread, descriptor, MORE_BYTES, 0)
            for _ in range(20):
                other.call(os.stat, path)
            assert holder.answer() == CONTENT[:FIRST_BYTES]
        assert other.call(programs.read_whole, path) == CONTENT[:MORE_BYTES]


# -- programs that read during appends


@contextlib.contextmanager
def appender(emulator: EmulatorProcess, name: str) -> Iterator[None]:
    """Append to an object all the time, until the block ends or all content is written."""
    ending = threading.Event()
    begun = threading.Event()

    def run() -> None:
        generation = begin(emulator, name)
        begun.set()
        # Each append is shorter than a page.
        for before in range(FIRST_BYTES, len(CONTENT), 2_001):
            if ending.is_set():
                return
            grow(emulator, name, generation, before, min(before + 2_001, len(CONTENT)))

    thread = threading.Thread(target=run)
    thread.start()
    try:
        assert begun.wait(10)
        yield
    finally:
        ending.set()
        thread.join()


@pytest.mark.parametrize("ttl", TTLS)
def test_copies_of_a_growing_object_are_prefixes_of_it(
    emulator: EmulatorProcess, mount: NewMount, folder: Path, ttl: str
) -> None:
    with (
        mount("--metadata-ttl", ttl) as mounted,
        mounted.program() as program,
        appender(emulator, "growing"),
    ):
        path = f"{mounted.path}/growing"
        copies = program.call(read_methods.copy_repeatedly, path, f"{folder}/copy", 30)
        answers = program.call(read_methods.serve_repeatedly, path, 30)
        answers += program.call(read_methods.map_repeatedly, path, 30)
    for copy in [*copies, *(answer for _, answer in answers)]:
        assert copy == CONTENT[: len(copy)]
        assert len(copy) >= FIRST_BYTES
    assert [len(answer) for _, answer in answers] == [promised for promised, _ in answers]
    # The copies have different sizes, because the object grows meanwhile.
    assert len({len(copy) for copy in copies}) > 1 or ttl != "0"


@pytest.mark.parametrize("ttl", TTLS)
def test_archives_of_a_growing_object_hold_a_prefix_of_it(
    emulator: EmulatorProcess, mount: NewMount, folder: Path, ttl: str
) -> None:
    results = []
    with mount("--metadata-ttl", ttl) as mounted, appender(emulator, "folder/growing"):
        for number in range(5):
            packed = mounted.run("tar", "-cf", folder / f"{number}.tar", "folder")
            synchronised = mounted.run("rsync", "-a", "folder", folder / f"tree-{number}")
            results += [(packed.returncode, packed.stderr)]
            results += [(synchronised.returncode, synchronised.stderr)]
    assert results == 10 * [(0, b"")]
    for number in range(5):
        shutil.unpack_archive(folder / f"{number}.tar", folder / f"unpacked-{number}")
        for tree in ("tree", "unpacked"):
            copy = (folder / f"{tree}-{number}" / "folder" / "growing").read_bytes()
            assert copy == CONTENT[: len(copy)]
            assert len(copy) >= FIRST_BYTES


@pytest.mark.skipif(shutil.which("fio") is None, reason="fio is not installed")
def test_io_uring_reads_all_bytes_of_the_size(emulator: EmulatorProcess, mount: NewMount) -> None:
    # fio(1) can verify this pattern. The size of the second append is no multiple of a page.
    pieces = [b"\x67" * 4096 * 20, b"\x67" * (4096 * 300 + 512)]
    generation = emulator.append("growing", pieces[0])
    job = ["--name=read", "--readonly", "--rw=read", "--bs=512", "--ioengine=io_uring"]
    job += ["--iodepth=16", "--verify=pattern", "--verify_pattern=0x67", "--output-format=json"]
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        descriptor = open_at(program, path, len(pieces[0]))
        emulator.append("growing", pieces[1], generation=generation, offset=len(pieces[0]))
        for direct in ("--direct=0", "--direct=1"):
            done = mounted.run_beside("fio", *job, direct, f"--filename={path}")
            assert done.returncode == 0, done.stderr
            read = json.loads(done.stdout)["jobs"][0]["read"]
            assert read["io_bytes"] == sum(len(piece) for piece in pieces)
        assert program.call(os.fstat, descriptor).st_size == len(pieces[0])


# -- tail


@contextlib.contextmanager
def tail(path: str, folder: Path, option: str) -> Iterator[tuple[Path, Path]]:
    """Follow a file from its start with tail(1); yield the files with its stdout and stderr."""
    printed, said = folder / "printed", folder / "said"
    # With these options, tail looks up the name as often as it can.
    command = ["tail", "-c", "+1", option, "-s", "0.05", "--max-unchanged-stats=1", path]
    with printed.open("wb") as output, said.open("wb") as errors:
        process = subprocess.Popen(command, stdout=output, stderr=errors)
    try:
        yield printed, said
        assert process.poll() is None
    finally:
        process.kill()
        process.wait(END_SECONDS)


def test_tail_by_descriptor_prints_only_the_opened_size(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    generation = begin(emulator, "growing")
    with mount("--metadata-ttl", "0") as mounted, mounted.program() as program:
        path = f"{mounted.path}/growing"
        with tail(path, folder, "-f") as (printed, said):
            wait_until(lambda: printed.stat().st_size == FIRST_BYTES, "tail prints the first bytes")
            grow(emulator, "growing", generation, FIRST_BYTES, MORE_BYTES)
            assert program.call(os.stat, path).st_size == MORE_BYTES
            # During this second, tail polls the file about 20 times.
            time.sleep(1)
    assert printed.read_bytes() == CONTENT[:FIRST_BYTES]
    assert said.read_bytes() == b""


def test_tail_by_name_prints_each_new_size_from_its_start(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    sizes = [FIRST_BYTES, MORE_BYTES, 70_001]
    generation = begin(emulator, "growing")
    with (
        mount("--metadata-ttl", "0") as mounted,
        tail(f"{mounted.path}/growing", folder, "-F") as (printed, said),
    ):
        for number, size in enumerate(sizes):
            if number:
                grow(emulator, "growing", generation, sizes[number - 1], size)
            expected = b"".join(CONTENT[:size] for size in sizes[: number + 1])
            wait_until(lambda: printed.stat().st_size >= len(expected), f"tail prints {size} bytes")  # noqa: B023
            # During this time, tail looks up the name again and must print nothing more.
            time.sleep(0.5)
            assert printed.read_bytes() == expected
    assert said.read_bytes().count(b"has been replaced") == len(sizes) - 1
