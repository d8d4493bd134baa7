"""Generated objects, and checks that a chunk store serves only their bytes."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from random import Random
from typing import TYPE_CHECKING

from crc32c import crc32c

from gcsmux_fs.caching.chunk_format import GRANULE_BYTES, PAGE_BYTES, identity_of
from gcsmux_fs.caching.chunk_store import Presence
from gcsmux_fs.model.values import ObjectKey

if TYPE_CHECKING:
    from collections.abc import Iterator

    from gcsmux_fs.caching.chunk_store import ChunkStore

__all__ = ["CachedObject", "check_reads", "read_everything", "write_everything"]


@dataclass(frozen=True, slots=True)
class CachedObject:
    """One object generation with generated content."""

    name: str
    size: int
    generation: int = 1

    @property
    def key(self) -> ObjectKey:
        return ObjectKey("bucket", self.name, self.generation)

    @property
    def identity(self) -> bytes:
        return identity_of(self.key, self.size)

    @property
    def content(self) -> memoryview:
        return memoryview(_content(self.name, self.generation, self.size))

    @property
    def crc(self) -> int:
        return _crc(self.name, self.generation, self.size)

    def pages(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each page."""
        for offset in range(0, self.size, PAGE_BYTES):
            yield offset, min(PAGE_BYTES, self.size - offset)

    def granules(self) -> Iterator[tuple[int, int]]:
        """Yield offset and length of each granule."""
        for offset in range(0, self.size, GRANULE_BYTES):
            yield offset, min(GRANULE_BYTES, self.size - offset)


@functools.lru_cache(maxsize=32)
def _content(name: str, generation: int, size: int) -> bytes:
    return Random(f"{name} {generation}").randbytes(size)


@functools.lru_cache(maxsize=32)
def _crc(name: str, generation: int, size: int) -> int:
    return crc32c(_content(name, generation, size))


def write_everything(store: ChunkStore, written: CachedObject) -> None:
    """Write all pages of an object, as the tier does after a fetch."""
    for offset, length in written.pages():
        store.write(
            written.identity, written.size, offset, written.content[offset : offset + length]
        )


def check_reads(store: ChunkStore, wanted: CachedObject, *, alone: bool = True) -> int:
    """Read all pages in both ways, and return how many bytes were served.

    Fail if a byte is wrong, or if a part is not a part of the range in order. `alone` says that no
    other process writes, so that both ways have to agree on what is absent.
    """
    served = 0
    for offset, length in wanted.pages():
        at_once = store.read_now(wanted.identity, wanted.size, offset, length)
        if not isinstance(at_once, Presence):
            assert at_once.readonly
            assert at_once == wanted.content[offset : offset + length]
        position = offset
        parts = store.read(wanted.identity, wanted.size, offset, length)
        for start, part in parts:
            assert position <= start
            assert start % GRANULE_BYTES == 0
            assert part.readonly
            assert part == wanted.content[start : start + len(part)]
            position = start + len(part)
            served += len(part)
        assert position <= offset + length
        if alone and at_once is Presence.ABSENT:
            assert not parts
    return served


def read_everything(store: ChunkStore, wanted: CachedObject) -> None:
    """Fail unless every byte is served, from memory too where the store offers this."""
    assert check_reads(store, wanted) == wanted.size
