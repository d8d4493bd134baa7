"""The file operations of a cache on the real file system.

Some operations never block, because the kernel refuses them where they would have to wait for the
disk: a path is opened only from the kernel's cache of names (`openat2` with `RESOLVE_CACHED`, Linux
5.12), and bytes are read only from its page cache (`preadv2` with `RWF_NOWAIT`, Linux 4.14).

Measured on Linux 6.18 (ext4 on a virtual disk, November 2026):

- RWF_NOWAIT works on ext4, but not on tmpfs, overlayfs and FUSE. On FUSE, even an open with
  RESOLVE_CACHED waits for the file system. So one test of RWF_NOWAIT, when the cache is opened,
  decides whether the operations that never block are used at all.
- RWF_NOWAIT for bytes that are not in memory fails, but also starts to read them. If a disk hangs
  and its queue is full, this start waits. So `is_in_memory` first asks whether all pages are in
  memory.
- tmpfs needs no RWF_NOWAIT: pages that are in memory are not in the swap space.

A read may also write the access time of the file, and wait for the journal. The flag O_NOATIME
prevents this, but only the owner of a file may set the flag. So the files of other users are read
without blocking only if the file system is mounted with `noatime`.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from typing import TYPE_CHECKING

from gcsmux_fs.caching.cache_files import FileStatus
from gcsmux_fs.caching.direct_writes import DirectWriter
from gcsmux_fs.caching.kernel_calls import (
    has_cachestat,
    is_in_memory,
    is_tmpfs,
    new_buffer,
    openat2,
    safe_open,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["RealCacheFiles", "share_directory"]

# O_NONBLOCK: the open of a FIFO does not wait. The flag has no effect on regular files.
_FILE_FLAGS = os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
_DIRECTORY_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC | os.O_NOFOLLOW

_CACHED_PATH = safe_open(os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW, only_cached=True)

# To zero a buffer of this length takes less time than to call `new_buffer`.
_ZEROED_BYTES = 16 * 1024

# The modes of directories and files that a group shares. New files belong to the group of their
# directory.
_SHARED_MODE = 0o2770
_SHARED_FILE_MODE = 0o660


class RealCacheFiles:
    """The operations of `CacheFiles` on the real file system.

    Args:
        directory: Descriptor of the directory. The caller closes it.
        probe: Name of a file that is not empty, to test which operations work here.
        shared: Whether the group of the directory may read and write new files.

    Attributes:
        avoids_waiting: Whether all writes go through the page cache, so that no write waits for
            the disk. Otherwise long writes may bypass the page cache (see `direct_writes`).
    """

    def __init__(self, directory: int, probe: str, *, shared: bool = False) -> None:
        self.avoids_waiting = False
        self._directory = directory
        self._probe = probe
        self._shared = shared
        # Descriptors whose reads may write the access time.
        self._with_access_time: set[int] = set()
        self._has_cachestat = False
        self._cached_read_flags: int | None = None
        self._test_operations()

    @property
    def never_blocks(self) -> bool:
        """Whether `open_cached` and `read_cached` work here."""
        return self._cached_read_flags is not None

    def replace_directory(self, directory: int) -> None:
        """Work below another directory from now on. The descriptor keeps its number."""
        self._cached_read_flags = None
        os.dup2(directory, self._directory, inheritable=False)
        self._test_operations()

    def open_cached(self, path: str) -> int:
        """Open a file for reading without blocking; see `CacheFiles`."""
        if self._cached_read_flags is None:
            raise BlockingIOError
        return openat2(self._directory, path, self._cached_open)

    def read_cached(self, descriptor: int, length: int, offset: int) -> memoryview | None:
        """Read from memory without blocking; see `CacheFiles`."""
        flags = self._cached_read_flags
        if flags is None or descriptor in self._with_access_time:
            return None
        if not is_in_memory(descriptor, length, offset, cachestat=self._has_cachestat):
            return None
        buffer = bytearray(length) if length <= _ZEROED_BYTES else new_buffer(length)
        try:
            count = os.preadv(descriptor, (buffer,), offset, flags)
            # A short read: the file ends here, or the next page is not in memory.
            if count < length and os.preadv(descriptor, (bytearray(1),), offset + count, flags):
                return None
        except BlockingIOError:
            return None
        view = memoryview(buffer).toreadonly()
        return view if count == length else view[:count]

    def status_cached(self, path: str) -> FileStatus:
        """Return the status of a path without blocking; see `CacheFiles`."""
        if self._cached_read_flags is None:
            raise BlockingIOError
        descriptor = openat2(self._directory, path, _CACHED_PATH)
        try:
            return _status_of(os.fstat(descriptor))
        finally:
            os.close(descriptor)

    def open(self, path: str, flags: int) -> int:
        """Open or create a file; see `CacheFiles`."""
        if not flags & os.O_CREAT or not self._shared:
            return self._open_file(path, flags)
        try:
            return self._open_file(path, flags & ~os.O_CREAT)
        except FileNotFoundError:
            pass
        try:
            descriptor = self._open_path(path, flags | _FILE_FLAGS | os.O_EXCL, _SHARED_FILE_MODE)
        except FileExistsError:
            return self._open_file(path, flags & ~os.O_CREAT)
        # The process may have a umask that takes the group's permissions away.
        os.fchmod(descriptor, _SHARED_FILE_MODE)
        return descriptor

    def read(self, descriptor: int, length: int, offset: int) -> memoryview:
        """Read bytes; see `CacheFiles`."""
        view = memoryview(new_buffer(length))
        count = 0
        while count < length:
            received = os.preadv(descriptor, (view[count:],), offset + count)
            if not received:
                break
            count += received
        return view.toreadonly()[:count]

    def write(self, descriptor: int, content: bytes | memoryview, offset: int) -> None:
        """Write bytes; see `CacheFiles`."""
        view = memoryview(content)
        write = os.pwrite if self.avoids_waiting else self._direct.write
        while view:
            count = write(descriptor, view, offset)
            view = view[count:]
            offset += count

    def append(self, descriptor: int, content: bytes | memoryview) -> None:
        """Append bytes in one call; see `CacheFiles`."""
        if os.write(descriptor, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    def truncate(self, descriptor: int, size: int) -> None:
        """Set the length of a file."""
        os.ftruncate(descriptor, size)

    def status(self, descriptor: int) -> FileStatus:
        """Return the status of an open file."""
        return _status_of(os.fstat(descriptor))

    def try_lock(self, descriptor: int) -> bool:
        """Lock a file if it is not locked; see `CacheFiles`."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def unlock(self, descriptor: int) -> None:
        """Release the lock of a file."""
        fcntl.flock(descriptor, fcntl.LOCK_UN)

    def close(self, descriptor: int) -> None:
        """Close a file."""
        self._with_access_time.discard(descriptor)
        os.close(descriptor)

    def path_status(self, path: str) -> FileStatus | None:
        """Return the status of a path; see `CacheFiles`."""
        try:
            with self._parent_of(path) as (parent, name):
                return _status_of(os.stat(name, dir_fd=parent, follow_symlinks=False))
        except FileNotFoundError:
            return None

    def remove(self, path: str) -> bool:
        """Remove a file; see `CacheFiles`."""
        try:
            with self._parent_of(path) as (parent, name):
                os.unlink(name, dir_fd=parent)
        except FileNotFoundError:
            return False
        return True

    def remove_directory(self, path: str) -> bool:
        """Remove an empty directory; see `CacheFiles`."""
        try:
            with self._parent_of(path) as (parent, name):
                os.rmdir(name, dir_fd=parent)
        except FileNotFoundError:
            return False
        except OSError as error:
            if error.errno == errno.ENOTEMPTY:
                return False
            raise
        return True

    def rename(self, path: str, target: str) -> None:
        """Rename a file; see `CacheFiles`."""
        with self._parent_of(path) as (parent, name), self._parent_of(target) as (place, new_name):
            os.rename(name, new_name, src_dir_fd=parent, dst_dir_fd=place)

    def make_directory(self, path: str) -> None:
        """Create a directory; see `CacheFiles`."""
        with self._parent_of(path) as (parent, name):
            try:
                os.mkdir(name, 0o770 if self._shared else 0o700, dir_fd=parent)
            except FileExistsError:
                return
        if self._shared:
            descriptor = self._open_path(path, _DIRECTORY_FLAGS, 0)
            try:
                share_directory(descriptor)
            finally:
                os.close(descriptor)

    def names(self, path: str) -> Iterator[str]:
        """Yield the names in a directory; see `CacheFiles`."""
        for entry in self._entries(path):
            yield entry.name

    def statuses(self, path: str) -> Iterator[tuple[str, FileStatus]]:
        """Yield the names in a directory with their statuses; see `CacheFiles`."""
        for entry in self._entries(path):
            try:
                status = _status_of(entry.stat(follow_symlinks=False))
            except FileNotFoundError:  # removed since
                continue
            yield entry.name, status

    def free_bytes(self) -> int:
        """Return the free space for this user."""
        space = os.fstatvfs(self._directory)
        return space.f_bavail * space.f_frsize

    def _entries(self, path: str) -> Iterator[os.DirEntry[str]]:
        try:
            descriptor = self._open_path(path, _DIRECTORY_FLAGS, 0)
        except FileNotFoundError:
            return
        try:
            with os.scandir(descriptor) as entries:
                yield from entries
        finally:
            os.close(descriptor)

    def _open_file(self, path: str, flags: int) -> int:
        flags |= _FILE_FLAGS
        mode = 0o600 if flags & os.O_CREAT else 0
        try:
            return self._open_path(path, flags | self._access_time_flag, mode)
        except PermissionError:
            # Only the owner of a file may open it with O_NOATIME.
            descriptor = self._open_path(path, flags, mode)
        if self._access_time_flag:
            self._with_access_time.add(descriptor)
        return descriptor

    def _open_path(self, path: str, flags: int, mode: int) -> int:
        if self._has_openat2:
            return openat2(self._directory, path, safe_open(flags, mode))
        with self._parent_of(path) as (parent, name):
            return os.open(name, flags, mode, dir_fd=parent)

    @contextlib.contextmanager
    def _parent_of(self, path: str) -> Iterator[tuple[int, str]]:
        """Open the directory of a path, and yield its descriptor and the name within it."""
        *folders, name = path.split("/")
        if self._has_openat2 and folders:
            parent = self._open_path("/".join(folders), _DIRECTORY_FLAGS, 0)
        else:
            parent = os.open(".", _DIRECTORY_FLAGS, dir_fd=self._directory)
            for folder in folders:
                try:
                    child = os.open(folder, _DIRECTORY_FLAGS, dir_fd=parent)
                finally:
                    os.close(parent)
                parent = child
        try:
            yield parent, name
        finally:
            os.close(parent)

    def _test_operations(self) -> None:
        """Find out which operations work on the file system of the directory."""
        has_no_access_times = os.fstatvfs(self._directory).f_flag & os.ST_NOATIME
        self._access_time_flag = 0 if has_no_access_times else os.O_NOATIME
        self._cached_open = safe_open(
            os.O_RDONLY | _FILE_FLAGS | self._access_time_flag, only_cached=True
        )
        self._has_openat2 = self._find_openat2()
        self._cached_read_flags = self._find_cached_read_flags(self._probe)
        self._direct = DirectWriter()

    def _find_openat2(self) -> bool:
        """Return whether the kernel has openat2 (Linux 5.6), and no seccomp filter denies it."""
        try:
            os.close(openat2(self._directory, ".", safe_open(_DIRECTORY_FLAGS)))
        except OSError:
            return False
        return True

    def _find_cached_read_flags(self, probe: str) -> int | None:
        """Return the flags of preadv2 with which a read never blocks; None if there are none."""
        if not self._has_openat2:
            return None
        try:
            descriptor = self._open_file(probe, os.O_RDONLY)
        except OSError:
            return None
        try:
            # Now the kernel has the name and the first page of the file in memory.
            os.pread(descriptor, 1, 0)
            self._has_cachestat = has_cachestat(descriptor)
            if not is_in_memory(descriptor, 1, 0, cachestat=self._has_cachestat):
                return None
            how = safe_open(os.O_RDONLY | _FILE_FLAGS, only_cached=True)
            os.close(openat2(self._directory, probe, how))
            if is_tmpfs(descriptor):
                return 0
            os.preadv(descriptor, (bytearray(1),), 0, os.RWF_NOWAIT)
        except (AttributeError, OSError):
            return None
        finally:
            self.close(descriptor)
        return os.RWF_NOWAIT


def share_directory(descriptor: int) -> None:
    """Let the group of a directory write to it, and let new files in it belong to the group.

    A new directory inherits this from the directory above it, unless the umask forbids it. Then
    nothing is set here, because the systemd unit forbids to set the set-group-ID bit.
    """
    if os.fstat(descriptor).st_mode & _SHARED_MODE != _SHARED_MODE:
        os.fchmod(descriptor, _SHARED_MODE)


def _status_of(result: os.stat_result) -> FileStatus:
    # The unit of st_blocks is 512 bytes on all file systems (inode(7)).
    return FileStatus(
        result.st_nlink,
        result.st_size,
        result.st_blocks * 512,
        result.st_uid,
        result.st_mode,
        result.st_mtime,
    )
