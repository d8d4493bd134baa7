"""Calls of the Linux kernel that Python's `os` does not offer."""

from __future__ import annotations

import ctypes
import errno
import mmap
import os

__all__ = [
    "OpenHow",
    "has_cachestat",
    "is_in_memory",
    "is_tmpfs",
    "new_buffer",
    "openat2",
    "safe_open",
]

# openat2(2) and its flags, from <linux/openat2.h>. The number is the same on x86, Arm and RISC-V.
_OPENAT2 = 437
_RESOLVE_NO_MAGICLINKS = 0x02
_RESOLVE_NO_SYMLINKS = 0x04
_RESOLVE_BENEATH = 0x08
_RESOLVE_CACHED = 0x20

# cachestat(2), from <linux/mman.h>. The arguments are two structures of 64-bit numbers: the range
# (offset, length), and the result, which starts with the number of pages in memory.
_CACHESTAT = 451
_CachestatNumbers = ctypes.c_uint64 * 7
_RANGE_BYTES = 16
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")

# The type of tmpfs, as fstatfs(2) reports it in the first word of a structure of 120 bytes.
_TMPFS_MAGIC = 0x01021994
_STATFS_BYTES = 256

_libc = ctypes.CDLL(None, use_errno=True)
# Calls that take a few microseconds keep the lock of the interpreter.
_quick_libc = ctypes.PyDLL(None)
_quick_libc.mmap.restype = ctypes.c_void_p
_quick_libc.mmap.argtypes = (
    ctypes.c_void_p,
    ctypes.c_size_t,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int,
    ctypes.c_int64,
)
_quick_libc.munmap.argtypes = (ctypes.c_void_p, ctypes.c_size_t)
_quick_libc.mincore.argtypes = (ctypes.c_void_p, ctypes.c_size_t, ctypes.c_char_p)
_MAP_FAILED = ctypes.c_void_p(-1).value

_new_bytearray = ctypes.pythonapi.PyByteArray_FromStringAndSize
_new_bytearray.restype = ctypes.py_object
_new_bytearray.argtypes = (ctypes.c_char_p, ctypes.c_ssize_t)


class OpenHow(ctypes.Structure):
    """`struct open_how` of <linux/openat2.h>."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


class _CachestatArguments:
    """The memory of the arguments of one call of cachestat."""

    __slots__ = ("numbers", "range_pointer", "result_pointer")

    def __init__(self) -> None:
        self.numbers = _CachestatNumbers()
        address = ctypes.addressof(self.numbers)
        self.range_pointer = ctypes.c_void_p(address)
        self.result_pointer = ctypes.c_void_p(address + _RANGE_BYTES)


# To allocate the arguments takes longer than the call.
_unused_arguments: list[_CachestatArguments] = []


def new_buffer(length: int) -> bytearray:
    """Return a bytearray with any content: to zero 2 MiB takes as long as to read them."""
    buffer: bytearray = _new_bytearray(None, length)
    return buffer


def safe_open(flags: int, mode: int = 0, *, only_cached: bool = False) -> OpenHow:
    """Return arguments of `openat2` that follow no link and stay below the directory.

    With `only_cached`, the kernel only uses its cache of names (Linux 5.12).
    """
    resolve = _RESOLVE_NO_MAGICLINKS | _RESOLVE_NO_SYMLINKS | _RESOLVE_BENEATH
    return OpenHow(flags, mode, resolve | _RESOLVE_CACHED if only_cached else resolve)


def openat2(directory: int, path: str, how: OpenHow) -> int:
    """Open a path relative to a directory (Linux 5.6).

    Raises:
        OSError: BlockingIOError if the cache of names cannot answer.
    """
    encoded = os.fsencode(path)
    while True:
        descriptor: int = _libc.syscall(
            _OPENAT2, directory, encoded, ctypes.byref(how), ctypes.sizeof(how)
        )
        if descriptor >= 0:
            return descriptor
        number = ctypes.get_errno()
        if number != errno.EINTR:
            raise OSError(number, os.strerror(number), path)


def has_cachestat(descriptor: int) -> bool:
    """Return whether cachestat(2) works: Linux 6.5, and no seccomp filter denies it.

    systemd 252 does not know the call. So a unit of Debian 12 with a list of allowed calls denies
    it.
    """
    return _count_pages(descriptor, 1, 0) >= 0


def is_in_memory(descriptor: int, length: int, offset: int, *, cachestat: bool) -> bool:
    """Return whether the pages of a range are in memory, or are being read.

    With `cachestat`, the kernel counts the pages in 1.6 us of processor time, for 16 KiB and for
    2 MiB. Otherwise mincore(2) looks at a mapping of the range, which no one touches: 10 us for
    16 KiB, 44 us for 2 MiB (Linux 6.18). Only the owner of a file and who may write it get a true
    answer of mincore.
    """
    start = offset - offset % _PAGE_BYTES
    length += offset - start
    if cachestat:
        return _count_pages(descriptor, length, start) >= -(-length // _PAGE_BYTES)
    pages = ctypes.create_string_buffer(-(-length // _PAGE_BYTES))
    address = _quick_libc.mmap(None, length, mmap.PROT_READ, mmap.MAP_SHARED, descriptor, start)
    if address == _MAP_FAILED:
        return False
    failed = _quick_libc.mincore(address, length, pages)
    _quick_libc.munmap(address, length)
    # The lowest bit of each byte says whether the page is in memory.
    return not failed and all(page & 1 for page in pages.raw)


def _count_pages(descriptor: int, length: int, offset: int) -> int:
    """Return the number of pages of a range in memory, by cachestat; -1 if it fails."""
    try:
        arguments = _unused_arguments.pop()
    except IndexError:
        arguments = _CachestatArguments()
    numbers = arguments.numbers
    numbers[0] = offset
    numbers[1] = length
    failed = _quick_libc.syscall(
        _CACHESTAT, descriptor, arguments.range_pointer, arguments.result_pointer, 0
    )
    count: int = numbers[2]
    _unused_arguments.append(arguments)
    return -1 if failed else count


def is_tmpfs(descriptor: int) -> bool:
    """Return whether a file is on tmpfs."""
    facts = ctypes.create_string_buffer(_STATFS_BYTES)
    return (
        _libc.fstatfs(descriptor, facts) == 0
        and ctypes.c_long.from_buffer(facts).value == _TMPFS_MAGIC
    )
