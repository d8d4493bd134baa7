"""How the next stream of an object is opened: what the streams before it have left behind.

Invariants:
1. A handle is the newest that was told, a token that of the last redirect.
2. A stream that has to serve bytes beyond what earlier ones knew of, or comes after one that told
   of another size than its readers know, is opened with neither.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from gcsmux_fs.storage.ports import OpenSpec

if TYPE_CHECKING:
    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import BidiMessage, StreamRedirect

__all__ = ["ResumeState"]


class ResumeState:
    """Read handle, routing token and the size that goes with them.

    An object that is still being appended to grows, but a stream serves what it found there when
    it, or the handle that it was opened with, was new: so much, as far as is known.
    """

    __slots__ = ("_handle", "_size", "_token", "final_size", "outdated")

    def __init__(self) -> None:
        self._handle = b""
        self._token = ""
        self._size: float = math.inf
        #: The size of an object that does not grow any more, as its stream tells; else None.
        self.final_size: int | None = None
        #: The current stream knows the object otherwise than somebody who reads it does.
        self.outdated = False

    @property
    def has_handle(self) -> bool:
        """Whether the next stream is opened with a read handle."""
        return bool(self._handle)

    def want(self, end: int) -> None:
        """Take note that the bytes before `end` are to be served."""
        self.outdated |= end > self._size

    def learn(self, message: BidiMessage) -> None:
        """Take what a response tells beside its bytes."""
        if message.handle:
            self._handle = message.handle
        if message.metadata is not None:
            found = message.metadata
            self._size = found.size or math.inf
            self.final_size = found.size if found.size and found.finalized else None

    def follow(self, redirect: StreamRedirect) -> None:
        """Go where the server says."""
        self._token = redirect.routing_token
        self._handle = redirect.handle or self._handle

    def forget(self) -> None:
        """Begin at the front door next time: what earlier streams left behind leads nowhere."""
        self._handle, self._token = b"", ""
        self._size = math.inf
        self.final_size = None

    def next_stream(self, key: ObjectKey, *, half_close: bool) -> OpenSpec:
        """Return how to open a stream now."""
        if self.outdated:
            self.forget()
            self.outdated = False
        return OpenSpec(key, self._handle, self._token, half_close=half_close)
