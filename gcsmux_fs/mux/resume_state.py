"""The state that one stream of an object passes on to the next stream; sans-IO.

Invariants:
1. The read handle is the newest handle that a response or a redirect carried. The routing token is
   the token of the last redirect.
2. If the next stream must serve bytes beyond the size that earlier streams reported, or if a reader
   and the last stream disagree about the size, the next stream is opened without read handle and
   routing token.
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
    """The read handle, the routing token and the object's size, for the next stream.

    An object may grow while it is not finalized. A stream serves the size that the object had when
    the stream was opened. A read handle likewise serves the size that the object had when the
    handle was created.
    """

    __slots__ = ("_handle", "_size", "_token", "final_size", "outdated")

    def __init__(self) -> None:
        self._handle = b""
        self._token = ""
        # The size that the current stream serves; infinity if it is unknown.
        self._size: float = math.inf
        #: Size of a finalized object as the stream reported it; None if the size is unknown or the
        #: object may grow.
        self.final_size: int | None = None
        #: Whether a reader expects another size than the current stream serves.
        self.outdated = False

    @property
    def has_handle(self) -> bool:
        """Whether the next stream is opened with a read handle."""
        return bool(self._handle)

    def require(self, end: int) -> None:
        """Set `outdated` if a reader requests bytes beyond the size that the stream serves.

        `end`: first offset after the requested bytes.
        """
        self.outdated |= end > self._size

    def update(self, message: BidiMessage) -> None:
        """Store the read handle and the size of a response."""
        if message.handle:
            self._handle = message.handle
        if message.metadata is not None:
            metadata = message.metadata
            self._size = metadata.size or math.inf
            self.final_size = metadata.size if metadata.size and metadata.finalized else None

    def redirect(self, redirect: StreamRedirect) -> None:
        """Store the routing token of a redirect, and the read handle if the redirect has one."""
        self._token = redirect.routing_token
        self._handle = redirect.handle or self._handle

    def reset(self) -> None:
        """Forget handle, token and size, so that the next stream is opened like a first stream."""
        self._handle, self._token = b"", ""
        self._size = math.inf
        self.final_size = None

    def open_spec(self, key: ObjectKey, *, half_close: bool) -> OpenSpec:
        """Return the specification for the next stream.

        If the handle and the token are `outdated`, the specification leaves both out.
        """
        if self.outdated:
            self.reset()
            self.outdated = False
        return OpenSpec(key, self._handle, self._token, half_close=half_close)
