"""A bucket as a read-only file system: names, files, directories and links.

Theory of operation. The namespace finds an inode for a name, and an inode is one generation of an
object. An open file pins its inode, so the file reads that generation until it is closed. If the
service answers that the generation no longer exists, the file system first removes the name from
the caches of the namespace. Then the program gets the error, and the kernel looks the name up
again.

Each method answers one request of the kernel. A request that may wait for the service passes the
gate (`request_gate`), which closes when the mount ends.
"""

from __future__ import annotations

import functools
import itertools
import time
from typing import TYPE_CHECKING, NoReturn

import trio

from gcsmux_fs.filesystem.directory_prefetch import DirectoryPrefetch
from gcsmux_fs.filesystem.directory_reader import DirectoryReader
from gcsmux_fs.filesystem.extended_attributes import PREFIX, extended_attributes
from gcsmux_fs.filesystem.file_attributes import AbsentName
from gcsmux_fs.filesystem.handle_table import HandleTable
from gcsmux_fs.filesystem.links import LinkReader
from gcsmux_fs.filesystem.object_opener import ObjectOpener
from gcsmux_fs.filesystem.open_policy import KEEP_PAGES, OpenedFile, check_open_flags
from gcsmux_fs.filesystem.operation_refused import (
    NAME_TOO_LONG,
    NO_ATTRIBUTE,
    NOT_A_LINK,
    OperationRefused,
)
from gcsmux_fs.filesystem.operation_times import OperationTimes
from gcsmux_fs.filesystem.request_gate import RequestGate
from gcsmux_fs.filesystem.window_policy import WindowPolicy
from gcsmux_fs.model.errors import GenerationGone
from gcsmux_fs.namespace.names import MAX_FILE_NAME_BYTES
from gcsmux_fs.namespace.recent_snapshots import RecentSnapshots
from gcsmux_fs.namespace.tree import NoSuchEntry
from gcsmux_fs.reading.read_request import Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from gcsmux_fs.filesystem.file_attributes import AttributePolicy, FileAttributes
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.reading.open_file import OpenFile
    from gcsmux_fs.reading.read_context import ReadContext

__all__ = ["BucketFilesystem"]


class BucketFilesystem:
    """The file system of one bucket.

    Args:
        tree: The names and inodes of the bucket.
        context: What all open files share: block cache, memory budget, deadlines.
        policy: Owners and modes of files.
        bucket: The name of the bucket.
        call_soon: Runs a function in the next turn of the event loop.
        clock: Returns the time in seconds. Used to measure how long READs take that the cache
            answers.
    """

    max_name_bytes = MAX_FILE_NAME_BYTES
    """Maximum length of a file name in bytes."""

    def __init__(
        self,
        tree: Tree,
        context: ReadContext,
        policy: AttributePolicy,
        *,
        bucket: str,
        call_soon: Callable[[Callable[[], None]], object],
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self._tree = tree
        self._policy = policy
        self._call_soon = call_soon
        self._clock = clock
        self._opener = ObjectOpener(context, bucket)
        self._prefetch = DirectoryPrefetch(tree, self._opener)
        self._links = LinkReader(tree, self._opener, self._prefetch, call_soon=call_soon)
        self._recent = RecentSnapshots()
        self._windows = WindowPolicy()
        self._gate = RequestGate()
        handles = itertools.count(1)
        self._files: HandleTable[tuple[int, OpenFile]] = HandleTable(handles)
        self._directories: HandleTable[DirectoryReader] = HandleTable(handles)
        self._read_seconds = context.read_seconds
        self._hit_seconds = context.read_seconds[Outcome.HIT]
        #: Durations and errors of all operations except READs.
        self.operation_times = OperationTimes()

    # -- the beginning and the end of the mount

    async def run(self) -> NoReturn:
        """Fetch files before programs open them, and release those not read, until cancelled."""
        await self._prefetch.run()

    async def drain(self, seconds: float) -> bool:
        """Refuse new requests, and wait up to `seconds` until requests in progress have ended.

        Return False if some requests are still in progress.
        """
        return await self._gate.drain(seconds)

    def close(self) -> None:
        """Refuse new requests and close all handles.

        The handles are closed here because the kernel does not close the files of programs that
        outlive the mount.
        """
        self._gate.close()
        for inode, file in self._files.pop_all():
            self._close_file(inode, file)
        for directory in self._directories.pop_all():
            directory.release()
        self._prefetch.close()

    def declare_metrics(self, registry: Registry) -> None:
        """Declare metrics of handles and metadata. `ReadContext` declares the metrics of READs."""
        registry.gauge(
            "open_handles",
            "handles",
            "Open files, open directories, and files fetched before a program opens them.",
            lambda: self.open_handles,
        )
        registry.counter(
            "ill_formed_metadata",
            "values",
            "Ill-formed values in metadata that other tools stored, counted once for each file.",
            lambda: self.ill_formed_metadata,
        )
        self._windows.declare_metrics(registry)
        self.operation_times.declare_metrics(registry, self._read_seconds.values())

    @property
    def open_handles(self) -> int:
        """Number of open files, open directories, and files fetched before a program opens them."""
        return len(self._files) + len(self._directories) + len(self._prefetch.files)

    @property
    def ill_formed_metadata(self) -> int:
        """Number of ill-formed values in metadata that other tools stored.

        The values of a file count once, however often the kernel asks for its attributes.
        """
        return self._policy.ill_formed.values

    # -- names and attributes

    async def lookup(self, parent: int, name: bytes, thread: int) -> FileAttributes | AbsentName:
        """Find a name in a directory, and add one to the lookup count of its inode.

        `thread` is the id of the thread that sent the request, 0 if unknown. The result is an
        `AbsentName` if the name is absent and the kernel may cache the absence.

        Raises:
            OperationRefused: the name is too long.
            NoSuchEntry: the name is absent, and the kernel must not cache the absence.
        """
        if len(name) > self.max_name_bytes:
            raise OperationRefused(NAME_TOO_LONG)
        with self._gate:
            recent = self._recent.recall(thread, parent, name, trio.current_time())
            if recent is not None and (entry := self._tree.enter_again(recent)) is not None:
                return self._policy.attributes_of(entry)
            try:
                entry = await self._tree.lookup(parent, name)
            except NoSuchEntry as absent:
                if absent.valid_seconds <= 0:
                    raise
                return AbsentName(absent.valid_seconds)
        if entry.grows:
            self._recent.note(thread, parent, name, entry.inode, trio.current_time())
        return self._policy.attributes_of(entry)

    def forget(self, counts: Iterable[tuple[int, int]]) -> None:
        """Lower the lookup counts of inodes. `counts` has pairs (inode, number of lookups)."""
        for inode, lookups in counts:
            self._tree.forget(inode, lookups)

    def attributes(self, inode: int) -> FileAttributes:
        """Return the attributes of an inode."""
        return self._policy.attributes_of(self._tree.get(inode))

    def extended_attributes(self, inode: int) -> dict[bytes, bytes]:
        """Return all extended attributes of an inode, by name."""
        info = self._tree.object_of(inode)
        return {} if info is None else extended_attributes(info)

    def extended_attribute(self, inode: int, name: bytes) -> bytes:
        """Return one extended attribute.

        Raises:
            OperationRefused: the inode has no attribute of this name.
        """
        if name.startswith(PREFIX):
            value = self.extended_attributes(inode).get(name)
            if value is not None:
                return value
        raise OperationRefused(NO_ATTRIBUTE)

    async def link_target(self, inode: int) -> bytes:
        """Return the target of a symbolic link.

        Raises:
            OperationRefused: the inode is not a symbolic link.
            StorageError: the target could not be read.
        """
        with self._gate:
            try:
                target = await self._links.target(inode)
            except GenerationGone:
                self._tree.generation_gone(inode)
                raise
        if target is None:
            raise OperationRefused(NOT_A_LINK)
        return target

    # -- files

    async def open(self, inode: int, flags: int, thread: int) -> OpenedFile:
        """Open a file and pin its inode.

        `thread` is the id of the thread that opens the file, 0 if unknown.

        If the open planner expects to save time, the bytes of the first READ are fetched before the
        OPEN is answered. This fetch also shows whether the generation still exists. If it does not
        exist, the OPEN fails with ESTALE. Then the kernel looks the name up again and opens the new
        generation.

        Raises:
            OperationRefused: `flags` ask for writing.
            GenerationGone: the generation has been overwritten or deleted.
        """
        check_open_flags(flags)
        with self._gate:
            self._recent.opened(thread)
            file = self._opener.open(self._tree.pin(inode))
            window = self._windows.choose(file.key.name, file.size)
            if window is not None:
                file.bursts.set_window(window)
            try:
                await file.ask_first(thread)
            except BaseException as error:
                if isinstance(error, GenerationGone):
                    self._tree.generation_gone(inode)
                self._close_file(inode, file)
                raise
        if file.expects_tail_only:
            # No READ will begin at offset 0, so the OPEN counts as the step of a walk.
            self._prefetch_after(inode, file)
        return OpenedFile(self._files.add((inode, file)), KEEP_PAGES, window)

    def read_cached(self, handle: int, offset: int, size: int) -> memoryview | bytes | None:
        """Return the bytes of a READ if all are cached, otherwise None. After None, call `read`.

        The answer has fewer than `size` bytes only at the end of the object. If the answer is not
        empty, the histogram `read_seconds` records how long it took.
        """
        began = self._clock()
        inode, file = self._files[handle]
        if offset == 0:
            self._prefetch_after(inode, file)
        content = file.read_cached(offset, size)
        # The empty answer to a READ beyond the end of the object does not count as a hit.
        if content:
            self._hit_seconds.observe(self._clock() - began)
        return content

    async def read(self, handle: int, offset: int, size: int) -> memoryview | bytes:
        """Return the bytes of a READ that `read_cached` did not answer.

        Raises:
            GenerationGone: the generation has been overwritten or deleted.
            StorageError: some bytes could not be fetched in time.
        """
        inode, file = self._files[handle]
        with self._gate:
            try:
                content = await file.read(offset, size)
            except GenerationGone:
                self._tree.generation_gone(inode)
                raise
        if (density := file.bursts.early_verdict(file.size)) is not None:
            self._windows.learn(file.key.name, file.bursts.window_bytes, density)
        return content

    def release(self, handle: int) -> None:
        """Close a file."""
        self._close_file(*self._files.pop(handle))

    # -- directories

    async def open_directory(self, inode: int) -> int:
        """Open a directory and return its handle."""
        with self._gate:
            await self._tree.confirm_directory(inode)
        return self._directories.add(DirectoryReader(self._tree, inode, self._policy))

    async def read_directory(
        self, handle: int, position: int, accept: Callable[[bytes, FileAttributes, int], bool]
    ) -> None:
        """Pass the entries of a directory to `accept` (see `DirectoryReader.read`)."""
        with self._gate:
            await self._directories[handle].read(position, accept)

    def release_directory(self, handle: int) -> None:
        """Close a directory."""
        self._directories.pop(handle).release()

    def _prefetch_after(self, inode: int, file: OpenFile) -> None:
        """Prefetch the files that follow `file`, but do not delay the answer to this request.

        The prefetch starts in the next turn of the event loop.
        """
        self._call_soon(functools.partial(self._prefetch.observe, inode, file, trio.current_time()))

    def _close_file(self, inode: int, file: OpenFile) -> None:
        self._learn_window(file)
        file.close()
        self._tree.unpin(inode)

    def _learn_window(self, file: OpenFile) -> None:
        self._windows.learn(file.key.name, file.bursts.window_bytes, file.take_density())
