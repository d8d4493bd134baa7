"""Packs a table of objects into bytes, column by column, and unpacks it; sans-IO.

A directory of 100,000 objects is packed and unpacked in about 0.1 s, because each column is copied
as a whole. The names are joined by line feeds, which the service does not allow in a name:
https://cloud.google.com/storage/docs/objects#naming.
"""

from __future__ import annotations

import json
import struct
from array import array
from typing import TYPE_CHECKING

from gcsmux_fs.model.object_table import ObjectTable, Traits, shared_traits

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["pack_names", "pack_objects", "unpack_names", "unpack_objects"]

_SEPARATOR = "\n"
# Number of names, and length of their text in bytes.
_NAMES = struct.Struct("=II")
# Number of different traits, and length of their text in bytes.
_TRAITS = struct.Struct("=II")
_COLUMNS = 4
_NUMBER_BYTES = array("q").itemsize
_INDEX_BYTES = array("I").itemsize


def pack_names(names: Sequence[str], cut: int) -> list[bytes] | None:
    """Pack sorted or unsorted names without their first `cut` characters.

    Return None if a name has a line feed.
    """
    text = _SEPARATOR.join([name[cut:] for name in names])
    if names and text.count(_SEPARATOR) != len(names) - 1:
        return None
    data = text.encode()
    return [_NAMES.pack(len(names), len(data)), data]


def unpack_names(data: memoryview, start: str) -> tuple[list[str], memoryview]:
    """Return the names, each with `start` before it, and the data after them.

    Raises:
        ValueError: the data is malformed.
    """
    count, length, rest = _unpack(_NAMES, data)
    if length > len(rest):
        raise ValueError("the names are cut short")
    tails = str(rest[:length], "utf-8").split(_SEPARATOR) if count else []
    if len(tails) != count:
        raise ValueError("another number of names")
    return [start + tail for tail in tails], rest[length:]


def pack_objects(table: ObjectTable, cut: int) -> list[bytes] | None:
    """Pack objects, whose names lose their first `cut` characters.

    Return None if a name has a line feed.
    """
    packed = pack_names(table.names, cut)
    if packed is None:
        return None
    numbers: dict[int, int] = {}
    different: list[Traits] = []
    indexes = array("I")
    for traits in table.traits:
        # Objects share their traits, so their identity is enough to find equal ones.
        index = numbers.get(id(traits))
        if index is None:
            index = numbers[id(traits)] = len(different)
            different.append(traits)
        indexes.append(index)
    text = json.dumps([_fields(traits) for traits in different], ensure_ascii=False).encode()
    columns = (table.generations, table.sizes, table.mtimes_ns, table.checksums)
    packed += [column.tobytes() for column in columns]
    return [*packed, indexes.tobytes(), _TRAITS.pack(len(different), len(text)), text]


def unpack_objects(data: memoryview, start: str) -> tuple[ObjectTable, memoryview]:
    """Return the objects, with `start` before each name, and the data after them.

    Raises:
        ValueError: the data is malformed.
    """
    names, rest = unpack_names(data, start)
    columns: list[array[int]] = []
    for code, item_bytes in [("q", _NUMBER_BYTES)] * _COLUMNS + [("I", _INDEX_BYTES)]:
        column = array(code)
        column.frombytes(rest[: len(names) * item_bytes])
        if len(column) != len(names):
            raise ValueError("a column is cut short")
        columns.append(column)
        rest = rest[len(names) * item_bytes :]
    count, length, rest = _unpack(_TRAITS, rest)
    listed = json.loads(bytes(rest[:length]))
    if not isinstance(listed, list):
        raise ValueError("the traits are no list")
    different = [_traits(fields) for fields in listed]
    generations, sizes, mtimes_ns, checksums, indexes = columns
    if len(different) != count or (indexes and max(indexes) >= count):
        raise ValueError("another number of traits")
    traits = [different[index] for index in indexes]
    return ObjectTable(names, generations, sizes, mtimes_ns, checksums, traits), rest[length:]


def _unpack(numbers: struct.Struct, data: memoryview) -> tuple[int, int, memoryview]:
    if len(data) < numbers.size:
        raise ValueError("the data is cut short")
    first, second = numbers.unpack_from(data)
    return first, second, data[numbers.size :]


def _fields(traits: Traits) -> list[object]:
    shared = (
        traits.metageneration,
        traits.content_type,
        traits.content_encoding,
        traits.storage_class,
        traits.finalized,
    )
    return [*shared, dict(traits.metadata)]


def _traits(fields: object) -> Traits:
    match fields:
        case [int(number), str(kind), str(encoding), str(storage), bool(finalized), dict(metadata)]:
            if not metadata:
                return shared_traits(number, kind, encoding, storage, finalized)
            return Traits(number, kind, encoding, storage, finalized, metadata)
    raise ValueError("malformed traits")
