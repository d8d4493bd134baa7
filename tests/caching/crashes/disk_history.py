"""A model of a file system: a history of operations, and the states that a power cut can leave.

`DiskHistory` keeps, for every sector of every file, for every size and for every name, all values
since the beginning. No value is synced, so a power cut may leave any of them, independent of all
others. So writes are missing, torn between two sectors or reordered. A sector may also hold zeros
(the file system had allocated it, but not written) or the bytes of another file, for example of a
removed one. A rename may be half done: both names or none. This is more than ext4, XFS and btrfs
do, so code that survives it needs no property of a file system, except that a sector is written
completely or not at all.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence
    from pathlib import Path

    from .choices import Choices

__all__ = ["ROOT", "DirectoryState", "Disk", "DiskHistory", "Losses", "Operation", "Sectors"]

ROOT = 0
"""Number of the root directory's inode."""

_FOREIGN_BYTE = b"\xa5"

_Value = TypeVar("_Value")


@dataclass(frozen=True, slots=True)
class Operation:
    """One recorded change of the disk.

    Attributes:
        kind: `create`, `mkdir`, `write`, `truncate`, `name` or `unname`.
        inode: The inode that changes; for `name` and `unname` the directory.
        number: The offset of a write, the size of a truncation, the mode of a new inode, or the
            inode that gets a name.
        content: The written bytes.
        name: The name within the directory.
    """

    kind: str
    inode: int
    number: int = 0
    content: bytes = b""
    name: str = ""


@dataclass(frozen=True, slots=True)
class Losses:
    """Which losses a power cut may cause, besides the loss of whole operations.

    `choices` decides among these. Each kind multiplies the number of states, so exhaustive tests
    turn on one kind after the other.
    """

    sector_bytes: int = 4096
    #: Decide for each sector of a write. Otherwise for each write as a whole.
    tears: bool = True
    #: A sector may hold zeros instead of any written value.
    zeros: bool = False
    #: A sector may hold the bytes that another file has at this place, or foreign bytes.
    foreign: bool = False
    #: Names and sizes may be lost. Otherwise only content is lost.
    metadata: bool = True


@dataclass(slots=True)
class Sectors:
    """The values of one inode since it was created; the newest value is the last one."""

    mode: int
    is_directory: bool
    sizes: list[int] = field(default_factory=lambda: [0])
    #: For each sector that was written: all its values. The first value is the hole.
    values: dict[int, list[bytes]] = field(default_factory=dict)
    #: For each sector: the number of the operation that caused each value except the first.
    writes: dict[int, list[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class FileState:
    """One name after a power cut: a directory, a file, or another name of the file `link`."""

    mode: int
    is_directory: bool = False
    link: str = ""
    size: int = 0
    sectors: tuple[tuple[int, bytes], ...] = ()


@dataclass(frozen=True, slots=True)
class DirectoryState:
    """All names below the directory after a power cut. Equal states are equal values."""

    entries: tuple[tuple[str, FileState], ...]
    sector_bytes: int

    def write(self, root: Path) -> None:
        """Create all files and directories in the empty directory `root`."""
        for name, state in self.entries:
            path = root / name
            if state.is_directory:
                path.mkdir()
                path.chmod(state.mode)
            elif state.link:
                path.hardlink_to(root / state.link)
            else:
                self._write_file(path, state)

    def _write_file(self, path: Path, state: FileState) -> None:
        file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            os.fchmod(file, state.mode)
            for sector, content in state.sectors:
                os.pwrite(file, content, sector * self.sector_bytes)
            os.ftruncate(file, state.size)
        finally:
            os.close(file)


class DiskHistory:
    """The operations on a directory, in order."""

    def __init__(self) -> None:
        self.operations: list[Operation] = []
        self._last_inode = ROOT

    def new_inode(self) -> int:
        """Return the number of a new inode."""
        self._last_inode += 1
        return self._last_inode

    def states(
        self, prefixes: Iterable[int] | None = None, *, sector_bytes: int = 4096
    ) -> Iterator[tuple[int, Disk]]:
        """Yield the disk after each number of operations in `prefixes`, by default after each."""
        wanted = set(range(len(self.operations) + 1) if prefixes is None else prefixes)
        disk = Disk(sector_bytes)
        for number in range(len(self.operations) + 1):
            if number in wanted:
                yield number, disk
            if number < len(self.operations):
                disk.apply(self.operations[number], number)

    def disk(self, prefix: int, *, sector_bytes: int = 4096) -> Disk:
        """Return the disk after the first `prefix` operations."""
        return next(disk for _, disk in self.states([prefix], sector_bytes=sector_bytes))


class Disk:
    """All values that names, sizes and sectors have had up to one moment."""

    def __init__(self, sector_bytes: int) -> None:
        self._sector_bytes = sector_bytes
        self._hole = bytes(sector_bytes)
        self.inodes: dict[int, Sectors] = {ROOT: Sectors(0o700, is_directory=True)}
        #: For each directory and name: all inodes that had the name. None: no file had it.
        self.names: dict[tuple[int, str], list[int | None]] = {}

    def apply(self, operation: Operation, number: int) -> None:
        """Add the values that the operation causes."""
        match operation.kind:
            case "create" | "mkdir":
                directory = operation.kind == "mkdir"
                self.inodes[operation.inode] = Sectors(operation.number, directory)
            case "write":
                self._write(operation, number)
            case "truncate":
                self._truncate(operation, number)
            case "name":
                self.names.setdefault((operation.inode, operation.name), [None]).append(
                    operation.number
                )
            case "unname":
                self.names.setdefault((operation.inode, operation.name), [None]).append(None)
            case kind:
                raise AssertionError(kind)

    def _write(self, operation: Operation, number: int) -> None:
        inode = self.inodes[operation.inode]
        offset, content, unit = operation.number, operation.content, self._sector_bytes
        end = offset + len(content)
        for sector in range(offset // unit, -(-end // unit)):
            start = sector * unit
            bytes_now = bytearray(self._values(inode, sector)[-1])
            first, last = max(offset, start), min(end, start + unit)
            bytes_now[first - start : last - start] = content[first - offset : last - offset]
            self._change(inode, sector, bytes(bytes_now), number)
        inode.sizes.append(max(end, inode.sizes[-1]))

    def _truncate(self, operation: Operation, number: int) -> None:
        inode = self.inodes[operation.inode]
        size, unit = operation.number, self._sector_bytes
        for sector, values in list(inode.values.items()):
            kept = max(0, size - sector * unit)
            if kept < unit:
                self._change(inode, sector, values[-1][:kept].ljust(unit, b"\0"), number)
        inode.sizes.append(size)

    def _values(self, inode: Sectors, sector: int) -> list[bytes]:
        return inode.values.setdefault(sector, [self._hole])

    def _change(self, inode: Sectors, sector: int, value: bytes, number: int) -> None:
        self._values(inode, sector).append(value)
        inode.writes.setdefault(sector, []).append(number)

    def cut_power(self, choices: Choices, losses: Losses) -> DirectoryState:
        """Return one of the states that a power cut may leave now."""
        entries: list[tuple[str, FileState]] = []
        seen: dict[int, str] = {}
        kept_writes: dict[int, bool] = {}
        waiting = [(ROOT, "")]
        while waiting:
            directory, path = waiting.pop()
            for (parent, name), inodes in self.names.items():
                if parent != directory:
                    continue
                number = _choose(inodes, choices) if losses.metadata else inodes[-1]
                if number is None:
                    continue
                inode, place = self.inodes[number], f"{path}{name}"
                if number in seen:
                    if not inode.is_directory:  # a directory has one name only
                        entries.append((place, FileState(inode.mode, link=seen[number])))
                    continue
                seen[number] = place
                if inode.is_directory:
                    entries.append((place, FileState(inode.mode, is_directory=True)))
                    waiting.append((number, f"{place}/"))
                else:
                    state = self._cut_file(inode, choices, losses, kept_writes)
                    entries.append((place, state))
        return DirectoryState(tuple(entries), self._sector_bytes)

    def _cut_file(
        self, inode: Sectors, choices: Choices, losses: Losses, kept_writes: dict[int, bool]
    ) -> FileState:
        size = _choose(inode.sizes, choices) if losses.metadata else inode.sizes[-1]
        sectors = tuple(
            (sector, content)
            for sector in sorted(inode.values)
            if sector * self._sector_bytes < size
            and (content := self._sector(inode, sector, choices, losses, kept_writes)) != self._hole
        )
        return FileState(inode.mode, size=size, sectors=sectors)

    def _sector(
        self,
        inode: Sectors,
        sector: int,
        choices: Choices,
        losses: Losses,
        kept_writes: dict[int, bool],
    ) -> bytes:
        values = inode.values[sector]
        if not losses.tears:
            for value, write in zip(values[:0:-1], inode.writes[sector][::-1], strict=True):
                if write not in kept_writes:
                    kept_writes[write] = choices.pick(2) == 0
                if kept_writes[write]:
                    return value
            return values[0]
        others = []
        if losses.zeros:
            others.append(self._hole)
        if losses.foreign:
            others.append(_FOREIGN_BYTE * self._sector_bytes)
            others += (
                value
                for other in self.inodes.values()
                if other is not inode
                for value in other.values.get(sector, ())[1:]
            )
        return _choose(list(dict.fromkeys([*others, *values])), choices)


def _choose(values: Sequence[_Value], choices: Choices) -> _Value:
    """Pick one of the values; the choice 0 is the newest, which is the last one."""
    return values[len(values) - 1 - choices.pick(len(values))]
