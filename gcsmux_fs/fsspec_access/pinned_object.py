"""One open file of a program: it reads one generation of one object; sans-IO."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectInfo, ObjectKey
    from gcsmux_fs.reading.open_file import OpenFile

__all__ = ["PinnedObject"]


class PinnedObject:
    """An object generation that a file has opened.

    The attributes `key`, `size` and `info` never change, and every thread may read them. Only the
    trio thread of the engine uses the other attributes. They belong to one `ServiceReader`. After a
    fork, or after the engine was stopped, another reader opens the same generation again.
    """

    __slots__ = ("file", "info", "is_closed", "key", "reader", "reads", "size")

    def __init__(self, key: ObjectKey, info: ObjectInfo) -> None:
        self.key = key
        self.info = info
        self.size = info.size
        #: The `ServiceReader` that opened `file`.
        self.reader: object = None
        self.file: OpenFile | None = None
        #: Number of reads in progress. The file is closed when the last of them has ended.
        self.reads = 0
        self.is_closed = False

    def __repr__(self) -> str:
        return f"<PinnedObject {self.key}>"
