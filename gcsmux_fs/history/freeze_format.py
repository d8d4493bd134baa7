"""The file of frozen names: lines of JSON, for people and for programs; sans-IO.

The lines, in their order:

    {"format":"gcsmux-freeze","version":1,"bucket":"b","prefix":"","as_of":"...","written":"..."}
    {"directory":"photos/"}
    {"known":["photos/",null]}
    {"folder":"photos/2026/"}
    {"name":"photos/a.jpg","generation":1,"size":2,"mtime_ns":3,...}
    {"names":1,"digest":"sha256:...","complete":true,"checksum":"sha256:..."}

Directories are sorted by location. After each directory follow its known ranges of keys (null is
the end of the directory), its folders, its placeholder object, and its objects, each sorted. Values
of an object that have their usual value are left out.

The digest is the SHA-256 of one line for each object, in the order of the file: the JSON array of
name, generation and size, without spaces. The checksum is the SHA-256 of all lines above the last
one. A file without `complete` is of a mount that has not ended yet.
"""

from __future__ import annotations

import functools
import hashlib
import json
from dataclasses import dataclass, replace
from json.encoder import encode_basestring
from typing import TYPE_CHECKING, Any

from gcsmux_fs.history.frozen_names import FrozenNames
from gcsmux_fs.history.key_ranges import after_prefix
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.model.object_table import NO_CHECKSUM, ObjectTable, Row, Traits, shared_traits
from gcsmux_fs.settings.rfc3339 import parse_time, show_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from gcsmux_fs.history.frozen_names import FrozenDirectory

__all__ = ["BrokenFreezeFile", "FreezeHeader", "FrozenState", "digest_of", "lines_of", "load_lines"]

_FORMAT, _VERSION = "gcsmux-freeze", 1
_ROWS_PER_BLOCK = 1000
# The values that most objects have in common, with their usual values (see `shared_traits`).
_TRAITS: dict[str, Any] = {
    "metageneration": 1,
    "content_type": "",
    "content_encoding": "",
    "storage_class": "STANDARD",
    "finalized": True,
}
_MAX_TRAITS = 1024


class BrokenFreezeFile(GcsmuxError):
    """A file is no file of frozen names, or was changed; the message is a part of a sentence."""


@dataclass(frozen=True, slots=True)
class FreezeHeader:
    """What a mount showed: its bucket, its folder, and the time of --as-of in nanoseconds."""

    bucket: str
    prefix: str
    as_of_ns: int | None = None


@dataclass(frozen=True, slots=True)
class FrozenState:
    """The content of a file of frozen names."""

    header: FreezeHeader
    names: FrozenNames
    digest: str
    is_complete: bool


def digest_of(names: FrozenNames) -> str:
    """Return the digest of all frozen objects."""
    digest = hashlib.sha256()
    for location, directory in names.directories():
        for table in _tables(names, location, directory):
            digest.update(_digest_lines(table))
    return f"sha256:{digest.hexdigest()}"


def lines_of(
    header: FreezeHeader, names: FrozenNames, *, written_ns: int, is_complete: bool
) -> Iterator[bytes]:
    """Yield the content of a file in parts."""
    digest, checksum = hashlib.sha256(), hashlib.sha256()
    first = {
        "format": _FORMAT,
        "version": _VERSION,
        "bucket": header.bucket,
        "prefix": header.prefix,
        "as_of": None if header.as_of_ns is None else show_time(header.as_of_ns),
        "written": show_time(written_ns),
    }
    parts = [_line(first)]
    for location, directory in names.directories():
        end = after_prefix(location)
        parts.append(_line({"directory": location}))
        parts += [
            _line({"known": [low, None if high >= end else high]}) for low, high in directory.known
        ]
        parts += [_line({"folder": folder}) for folder in directory.folders]
        for table in _tables(names, location, directory):
            digest.update(_digest_lines(table))
            parts.append(_object_lines(table))
            yield _counted(parts, checksum)
    yield _counted(parts, checksum)
    yield _line(
        {
            "names": names.objects,
            "digest": f"sha256:{digest.hexdigest()}",
            "complete": is_complete,
            "checksum": f"sha256:{checksum.hexdigest()}",
        }
    )


def load_lines(lines: Iterable[bytes]) -> FrozenState:
    """Return the content of a file.

    Raises:
        BrokenFreezeFile: the file is damaged or of an unknown version.
    """
    reader = _Reader()
    try:
        for line in lines:
            reader.take(line)
        return reader.state()
    except (ConfigError, ValueError, KeyError, TypeError, AttributeError, OverflowError):
        raise BrokenFreezeFile(f"line {reader.line} is not as gcsmux writes it") from None


def _counted(parts: list[bytes], checksum: Any) -> bytes:
    data = b"".join(parts)
    parts.clear()
    checksum.update(data)
    return data


def _line(values: dict[str, object]) -> bytes:
    return f"{_json(values)}\n".encode()


def _tables(names: FrozenNames, location: str, directory: FrozenDirectory) -> Iterator[ObjectTable]:
    placeholder = names.placeholder(location)
    if placeholder is not None:
        yield ObjectTable.of([placeholder.info])
    yield from directory.rows.tables()


def _digest_lines(table: ObjectTable) -> bytes:
    rows = zip(map(encode_basestring, table.names), table.generations, table.sizes, strict=True)
    return "".join([f"[{name},{generation},{size}]\n" for name, generation, size in rows]).encode()


def _object_lines(table: ObjectTable) -> bytes:
    columns = zip(
        map(encode_basestring, table.names),
        table.generations,
        table.sizes,
        table.mtimes_ns,
        map(_checksum_text, table.checksums),
        map(_traits_text, table.traits),
        strict=True,
    )
    return "".join(
        [
            f'{{"name":{name},"generation":{generation},"size":{size},"mtime_ns":{mtime}'
            f"{checksum}{traits}}}\n"
            for name, generation, size, mtime, checksum, traits in columns
        ]
    ).encode()


def _checksum_text(checksum: int) -> str:
    return "" if checksum == NO_CHECKSUM else f',"crc32c":{checksum}'


def _traits_text(traits: Traits) -> str:
    text = _shared_text(
        traits.metageneration,
        traits.content_type,
        traits.content_encoding,
        traits.storage_class,
        traits.finalized,
    )
    if not traits.metadata:
        return text
    return f'{text},"metadata":{_json(dict(traits.metadata))}'


@functools.lru_cache(_MAX_TRAITS)
def _shared_text(*values: object) -> str:
    pairs = zip(_TRAITS.items(), values, strict=True)
    return "".join(f',"{key}":{_json(value)}' for (key, usual), value in pairs if value != usual)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class _Reader:
    """Takes the lines of a file, one after another."""

    def __init__(self) -> None:
        #: The number of the line that was taken last.
        self.line = 0
        self._names = FrozenNames()
        self._header: FreezeHeader | None = None
        self._location: str | None = None
        self._directory: FrozenDirectory | None = None
        self._table = ObjectTable.empty()
        self._checksum = hashlib.sha256()
        self._end: dict[str, Any] | None = None

    def take(self, line: bytes) -> None:
        """Take the next line."""
        self.line += 1
        values = json.loads(line)
        if self._end is not None:
            raise BrokenFreezeFile("lines follow the last line")
        if self._header is None:
            self._header = _header_of(values)
        elif "name" in values:
            self._take_object(values)
        elif "folder" in values:
            self._open().folders.append(values["folder"])
        elif "known" in values:
            low, high = values["known"]
            assert self._location is not None
            self._open().known.add(low, after_prefix(self._location) if high is None else high)
        elif "directory" in values:
            self._flush()
            self._location = values["directory"]
            self._directory = self._names.directory_to_load(values["directory"])
        else:
            self._flush()
            self._end = values
            return
        self._checksum.update(line)

    def state(self) -> FrozenState:
        """Return the content after the last line."""
        if self._header is None or self._end is None:
            raise BrokenFreezeFile("it ends before its last line")
        if self._end["checksum"] != f"sha256:{self._checksum.hexdigest()}":
            raise BrokenFreezeFile("its checksum is wrong, so it was changed")
        digest = digest_of(self._names)
        if (self._end["digest"], self._end["names"]) != (digest, self._names.objects):
            raise BrokenFreezeFile("its digest is wrong, so it was changed")
        return FrozenState(self._header, self._names, digest, bool(self._end["complete"]))

    def _open(self) -> FrozenDirectory:
        if self._directory is None:
            raise BrokenFreezeFile("it has no directory above the first name")
        return self._directory

    def _take_object(self, values: dict[str, Any]) -> None:
        self._open()
        name = values["name"]
        table = ObjectTable.empty() if name == self._location else self._table
        table.names.append(name)
        table.generations.append(values["generation"])
        table.sizes.append(values["size"])
        table.mtimes_ns.append(values["mtime_ns"])
        table.checksums.append(values.get("crc32c", NO_CHECKSUM))
        table.traits.append(_traits_of(values))
        if table is not self._table:
            self._names.load_placeholder(Row(table, 0))
        elif len(table) == _ROWS_PER_BLOCK:
            self._flush()

    def _flush(self) -> None:
        if self._directory is not None:
            self._names.load_rows(self._directory, self._table)
        self._table = ObjectTable.empty()


def _header_of(values: dict[str, Any]) -> FreezeHeader:
    if values.get("format") != _FORMAT:
        raise BrokenFreezeFile("it is no file of frozen names")
    if values["version"] != _VERSION:
        raise BrokenFreezeFile(f"its version is {values['version']}, and only {_VERSION} is known")
    as_of = values["as_of"]
    return FreezeHeader(
        values["bucket"], values["prefix"], None if as_of is None else parse_time(as_of)
    )


def _traits_of(values: dict[str, Any]) -> Traits:
    shared = shared_traits(*(values.get(key, usual) for key, usual in _TRAITS.items()))
    metadata = values.get("metadata")
    return replace(shared, metadata=metadata) if metadata else shared
