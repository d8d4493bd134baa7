"""Functions that use a mount. Each test program calls these functions in its own process.

`Program` of the harness starts this module as a process. The process calls functions of this module
or of the standard library. This module imports nothing of the package, because a program uses a
mount only through its path.

Tagged content: every 4 KiB block repeats two numbers 256 times, a tag and the number of the block.
So each block shows which content and which offset it belongs to.
"""

from __future__ import annotations

import concurrent.futures
import ctypes
import errno
import hashlib
import mmap
import os
import random
import signal
import sqlite3
import stat
import struct
import sys
import time
from contextlib import closing, nullcontext, suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = [
    "BLOCK_BYTES",
    "Entry",
    "Storm",
    "failing_reads",
    "first_entry",
    "handle_of",
    "in_parallel",
    "link_target",
    "list_rest",
    "mapped_tags",
    "modes",
    "open_and_close",
    "random_reads",
    "read_by_handle",
    "read_head",
    "read_loop",
    "read_parts",
    "read_sequentially",
    "read_tags",
    "read_whole",
    "refusals",
    "seconds_to_open_and_fail",
    "select_read_only",
    "storm",
    "tagged",
    "tags",
    "tree",
]

BLOCK_BYTES = 4096
_PAIR = struct.Struct("<QQ")


def tagged(tag: int, offset: int, size: int) -> bytes:
    """Return the tagged content with this tag: the `size` bytes that start at `offset`."""
    first, last = offset // BLOCK_BYTES, -(-(offset + size) // BLOCK_BYTES)
    repeats = BLOCK_BYTES // _PAIR.size
    blocks = b"".join(_PAIR.pack(tag, number) * repeats for number in range(first, last))
    start = offset - first * BLOCK_BYTES
    return blocks[start : start + size]


def tags(content: bytes | memoryview, offset: int) -> set[int]:
    """Return the tags of all blocks in `content`. `offset` is the block-aligned file offset.

    Raises:
        ValueError: a block is not tagged content or contains the number of another block.
    """
    tags_seen: set[int] = set()
    for at in range(0, len(content), BLOCK_BYTES):
        block = bytes(content[at : at + BLOCK_BYTES])
        tag, _ = _PAIR.unpack_from(block)
        if block != tagged(tag, offset + at, len(block)):
            raise ValueError(
                f"the block at {offset + at} holds the content of two blocks or of another block"
            )
        tags_seen.add(tag)
    return tags_seen


# -- trees and whole files


@dataclass(frozen=True)
class Entry:
    """A file or directory in a tree. For a directory, all fields have their default values."""

    digest: str = ""
    size: int = 0
    mtime_ns: int = 0


def tree(root: str) -> dict[bytes, Entry]:
    """Read all files below `root`; return all files and directories by their relative path."""
    entries: dict[bytes, Entry] = {}
    top = os.fsencode(root)
    for folder, folders, files in os.walk(top, onerror=_throw):
        for name in folders:
            entries[os.path.relpath(os.path.join(folder, name), top)] = Entry()
        for name in files:
            path = os.path.join(folder, name)
            status = os.lstat(path)
            digest = hashlib.sha256(read_whole(path)).hexdigest()
            entries[os.path.relpath(path, top)] = Entry(digest, status.st_size, status.st_mtime_ns)
    return entries


def _throw(error: OSError) -> None:
    raise error


def read_whole(path: str | bytes) -> bytes:
    """Return all bytes of a file."""
    with open(path, "rb") as file:
        return file.read()


def open_and_close(paths: Sequence[str]) -> int:
    """Open and close each file without reading it; return the number of files."""
    for path in paths:
        os.close(os.open(path, os.O_RDONLY))
    return len(paths)


def seconds_to_open_and_fail(path: str) -> float:
    """Open and read a file. The open or the read must fail. Return the duration in seconds."""
    began = time.monotonic()
    try:
        read_whole(path)
    except OSError:
        return time.monotonic() - began
    raise ValueError("the read succeeded")


def read_sequentially(path: str, report_every: int, connection: Connection | None) -> str:
    """Read a file to its end and return its SHA-256.

    Send the position through `connection` each time that `report_every` more bytes have been read.
    """
    digest = hashlib.sha256()
    at = 0
    with open(path, "rb", buffering=0) as file:
        while piece := file.read(1 << 20):
            digest.update(piece)
            if connection is not None and at // report_every != (at + len(piece)) // report_every:
                connection.send(at + len(piece))
            at += len(piece)
    return digest.hexdigest()


def read_head(path: str, size: int) -> int:
    """Read the first `size` bytes of a file sequentially; return the number of bytes read."""
    done = 0
    with open(path, "rb", buffering=0) as file:
        while done < size and (piece := file.read(min(1 << 17, size - done))):
            done += len(piece)
    return done


def read_parts(folder: str, offset: int, length: int) -> int:
    """Read `length` bytes at `offset` of each file of a folder, in the order of the names.

    A negative offset counts from the end of a file. Return the number of bytes that were read.
    """
    read = 0
    for name in sorted(os.listdir(folder)):
        descriptor = os.open(f"{folder}/{name}", os.O_RDONLY)
        start = offset if offset >= 0 else os.fstat(descriptor).st_size + offset
        read += len(os.pread(descriptor, length, start))
        os.close(descriptor)
    return read


def in_parallel(function: Callable[[str, int], int], paths: Sequence[str], argument: int) -> int:
    """Call `function` for all paths at the same time in threads; return the sum of the results."""
    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        return sum(pool.map(function, paths, [argument] * len(paths)))


# -- reads


def failing_reads(paths: Sequence[str], size: int) -> list[tuple[str, float]]:
    """Read the start of all files at the same time.

    Return the errno name ("" after a success) and the duration in seconds of each read.
    """

    def read(path: str) -> tuple[str, float]:
        descriptor = os.open(path, os.O_RDONLY)
        started_at = time.monotonic()
        try:
            os.pread(descriptor, size, 0)
        except OSError as error:
            return errno.errorcode[error.errno or 0], time.monotonic() - started_at
        finally:
            os.close(descriptor)
        return "", time.monotonic() - started_at

    with concurrent.futures.ThreadPoolExecutor(len(paths)) as pool:
        return list(pool.map(read, paths))


def random_reads(
    files: Sequence[tuple[str, int, int]], readers: int, reads: int, seed: int
) -> tuple[int, int]:
    """Read at random offsets in `readers` threads; return the numbers of reads and of wrong reads.

    Each element of `files` is (path, tag, size). Half of the reads request 4 KiB, the other half
    request a random number of bytes.
    """

    def read(reader: int) -> tuple[int, int]:
        source = random.Random(seed + reader)
        wrong = 0
        for _ in range(reads):
            path, tag, size = source.choice(files)
            descriptor = os.open(path, os.O_RDONLY)
            try:
                for _ in range(4):
                    length = source.choice([4096, source.randrange(1, 300_000)])
                    offset = source.randrange(size)
                    content = os.pread(descriptor, length, offset)
                    wrong += content != tagged(tag, offset, min(length, size - offset))
            finally:
                os.close(descriptor)
        return 4 * reads, wrong

    with concurrent.futures.ThreadPoolExecutor(readers) as pool:
        results = list(pool.map(read, range(readers)))
    return sum(done for done, _ in results), sum(wrong for _, wrong in results)


def read_tags(path: str, offset: int, size: int) -> set[int]:
    """Read a file and return the tags of the blocks read. The file stays open for later calls."""
    if path not in _descriptors:
        _descriptors[path] = os.open(path, os.O_RDONLY)
    return tags(os.pread(_descriptors[path], size, offset), offset)


_descriptors: dict[str, int] = {}


def mapped_tags(path: str, offset: int, size: int) -> set[int]:
    """Read a file through a memory mapping, which stays; return the tags of the blocks."""
    if path not in _mappings:
        with open(path, "rb") as file:
            _mappings[path] = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
    return tags(_mappings[path][offset : offset + size], offset)


_mappings: dict[str, mmap.mmap] = {}


def read_loop(path: str) -> str:
    """Read a file again and again until an error occurs; return the errno name of the error."""
    try:
        while True:
            with open(path, "rb", buffering=0) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
                while file.read(1 << 20):
                    pass
    except OSError as error:
        return errno.errorcode[error.errno or 0]


# -- directories


def first_entry(path: str) -> str:
    """Start to list a directory and return the first entry. The listing stays open."""
    _listings[path] = os.scandir(path)
    return next(_listings[path]).name


def list_rest(path: str) -> list[str]:
    """Return the entries that follow the entry that `first_entry` has returned."""
    with _listings.pop(path) as listing:
        return [entry.name for entry in listing]


_listings: dict[str, os._ScandirIterator[str]] = {}


# -- refused writes


def refusals(file: str, folder: str, absent: str) -> dict[str, str]:
    """Try each operation that writes; return its errno name, or "done" if it succeeds."""
    tries: dict[str, Callable[[], object]] = {
        "create": lambda: os.open(absent, os.O_WRONLY | os.O_CREAT),
        "create exclusively": lambda: os.open(absent, os.O_RDONLY | os.O_CREAT | os.O_EXCL),
        "open for writing": lambda: os.open(file, os.O_WRONLY),
        "open for both": lambda: os.open(file, os.O_RDWR),
        "open for appending": lambda: os.open(file, os.O_WRONLY | os.O_APPEND),
        "open and truncate": lambda: os.open(file, os.O_WRONLY | os.O_TRUNC),
        "truncate": lambda: os.truncate(file, 0),
        "chmod": lambda: os.chmod(file, 0o600),
        "chown": lambda: os.chown(file, 1, 1),
        "utime": lambda: os.utime(file, (0, 0)),
        "unlink": lambda: os.unlink(file),
        "rename": lambda: os.rename(file, absent),
        "link": lambda: os.link(file, absent),
        "symlink": lambda: os.symlink(file, absent),
        "mkdir": lambda: os.mkdir(absent),
        "rmdir": lambda: os.rmdir(folder),
        "mkfifo": lambda: os.mkfifo(absent),
        "setxattr": lambda: os.setxattr(file, "user.note", b"text"),
        "removexattr": lambda: os.removexattr(file, "user.gcs.generation"),
    }
    errors: dict[str, str] = {}
    for name, attempt in tries.items():
        try:
            attempt()
            errors[name] = "done"
        except OSError as error:
            errors[name] = errno.errorcode[error.errno or 0]
    return errors


def select_read_only(path: str, parameters: str, statement: str) -> list[tuple[object, ...]]:
    """Open a SQLite database by a URI with `parameters`; return the rows of the query."""
    with closing(sqlite3.connect(f"file:{path}?{parameters}", uri=True)) as database:
        return list(database.execute(statement))


# -- killed processes


@dataclass(frozen=True)
class Storm:
    """Number of killed processes, and how many of them did not end after the kill."""

    killed: int
    stuck: int


def storm(
    root: str,
    names: Sequence[str],
    bursts: int,
    seed: int,
    changing: bool = False,
    pause_seconds: float = 0.0,
) -> Storm:
    """Run many bursts: start processes that use the mount, and kill all of them at a random moment.

    Every 20th burst has 32 processes that read and 40 processes that call open and getxattr. All
    other bursts have one to three processes that call open and getxattr. Small bursts make a freeze
    likely, because a mount can freeze when its request queue becomes empty at the wrong instant.
    Between the kill and the end of all processes of a burst, no other process uses the mount. A
    killed process whose request a frozen mount has taken cannot end, so the test notices the
    freeze.

    Before every tenth burst, nothing uses the mount for `pause_seconds`. If `changing` is true, the
    test overwrites the files during the storm. Then every call may fail, and the processes also
    list the directory.
    """
    source = random.Random(seed)
    killed = stuck = 0
    for number in range(bursts):
        readers, others = (32, 40) if number % 20 == 0 else (0, source.randint(1, 3))
        if number % 10 == 0:
            time.sleep(pause_seconds)
        processes = [
            _visit(root, names, number < readers, source.random(), changing)
            for number in range(readers + others)
        ]
        time.sleep(source.uniform(0.002, 0.012))
        source.shuffle(processes)
        for process in processes:
            os.kill(process, signal.SIGKILL)
        killed += len(processes)
        stuck += _reap(processes, seconds=15)
        if stuck:
            break
    return Storm(killed, stuck)


def _visit(root: str, names: Sequence[str], reads: bool, seed: float, changing: bool) -> int:
    process = os.fork()
    if process:
        return process
    source = random.Random(seed)
    while True:
        path = os.path.join(root, source.choice(names))
        # If the files change, the object of any call may be gone.
        with suppress(OSError) if changing else nullcontext():
            _use(path, reads, source)
            if changing and not reads:
                os.stat(path)
                os.listdir(root)


def _use(path: str, reads: bool, source: random.Random) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        size = os.fstat(descriptor).st_size
        for _ in range(8):
            if reads:
                os.pread(descriptor, 65536, source.randrange(max(1, size)))
            else:
                # The kernel does not cache extended attributes, so each call reaches the mount.
                os.getxattr(descriptor, "user.gcs.generation")
    finally:
        os.close(descriptor)


def _reap(processes: Sequence[int], seconds: float) -> int:
    """Wait for killed processes; return how many processes have not ended after `seconds`."""
    left = set(processes)
    end = time.monotonic() + seconds
    while left and time.monotonic() < end:
        gone = {process for process in left if os.waitpid(process, os.WNOHANG)[0]}
        left -= gone
        if not gone:
            time.sleep(0.001)
    return len(left)


class _FileHandle(ctypes.Structure):
    """The struct file_handle of <fcntl.h>, with space for a handle of MAX_HANDLE_SZ bytes."""

    _fields_ = (
        ("size", ctypes.c_uint),
        ("kind", ctypes.c_int),
        ("identity", ctypes.c_ubyte * 128),
    )


def handle_of(path: str) -> tuple[int, bytes]:
    """Return the file handle that an NFS server stores for a file (name_to_handle_at)."""
    handle = _FileHandle(size=128)
    library = ctypes.CDLL(None, use_errno=True)
    result = library.name_to_handle_at(
        -100, os.fsencode(path), ctypes.byref(handle), ctypes.byref(ctypes.c_int()), 0
    )
    if result:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()), path)
    return handle.kind, bytes(handle.identity)[: handle.size]


def read_by_handle(root: str, known: tuple[int, bytes]) -> bytes:
    """Read a file by its file handle, as an NFS server does (open_by_handle_at)."""
    kind, identity = known
    handle = _FileHandle(size=len(identity), kind=kind)
    ctypes.memmove(handle.identity, identity, len(identity))
    library = ctypes.CDLL(None, use_errno=True)
    descriptor = os.open(root, os.O_RDONLY)
    try:
        file_descriptor = library.open_by_handle_at(descriptor, ctypes.byref(handle), os.O_RDONLY)
        if file_descriptor < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    finally:
        os.close(descriptor)
    with open(file_descriptor, "rb") as file:
        return file.read()


def link_target(path: str) -> str:
    """Return the target of a symbolic link."""
    return os.readlink(path)


def own_attributes(path: str) -> list[str]:
    """Return the names of the extended attributes of a file, or of a symbolic link itself."""
    return os.listxattr(path, follow_symlinks=False)


def modes(path: str) -> tuple[str, int, int]:
    """Return the mode (as `ls` shows it), owner and group of a file."""
    status = os.stat(path)
    return stat.filemode(status.st_mode), status.st_uid, status.st_gid


def _serve(connection: Connection) -> None:
    """Call the functions that arrive through the connection; send back each result or exception."""
    while True:
        try:
            function, arguments, reporting = connection.recv()
        except EOFError:
            return
        try:
            answer = function(*arguments, connection) if reporting else function(*arguments)
            connection.send((True, answer))
        except Exception as error:  # the harness raises it again
            connection.send((False, error))


if __name__ == "__main__":
    _serve(Connection(int(sys.argv[1])))
