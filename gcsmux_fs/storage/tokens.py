"""The token that calls bring along, and when it is replaced by another.

google-auth renews a token by its own clock, some minutes before it expires. A service may refuse it
earlier: it was revoked, or the clock here was set back. So a call that is refused marks the token
that it was made with, and the next call drops a token so marked and fetches another.

Any thread may ask: gRPC has each call's headers made in a thread of their own. They wait for one
another, so that calls that want a token at the same time fetch it once, and share a failure to.
"""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING

import grpc

if TYPE_CHECKING:
    from collections.abc import Callable

    import google.auth.credentials
    import google.auth.transport

__all__ = ["Token", "Tokens"]

# A service that takes no token at all is not to have the one who gives them asked for each call.
_PAUSE_SECONDS = 10.0


class Token:
    """What is known of a token; `refused` is set by a call that was made with it."""

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = False


class Tokens(grpc.AuthMetadataPlugin):
    """Gives each call the headers of some credentials; `current` is the token for the next one.

    A call that notes `current` when it begins was made with that token or a fresh one. The latter
    is not to be blamed: if it is refused as well, another would not help.
    """

    def __init__(
        self,
        credentials: google.auth.credentials.Credentials,
        request: google.auth.transport.Request,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.current = Token()
        self._credentials = credentials
        self._request = request
        self._clock = clock
        self._lock = threading.Lock()
        self._next_drop = clock()
        self._failures = 0
        self._failure = Exception()

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        """Hand the headers of one call to gRPC, which words what is raised instead."""
        failures = self._failures
        with self._lock:
            if self._failures != failures:
                raise self._failure
            try:
                headers = self._headers(context)
            except Exception as error:
                self._failures += 1
                self._failure = error
                raise
        callback(tuple(headers.items()), None)

    def _headers(self, context: grpc.AuthMetadataContext) -> dict[str, str]:
        credentials = self._credentials
        now = self._clock()
        if self.current.refused and now >= self._next_drop:
            self._next_drop = now + _PAUSE_SECONDS
            credentials.token = None
        known = credentials.token
        headers: dict[str, str] = {}
        credentials.before_request(self._request, context.method_name, context.service_url, headers)
        if credentials.token != known:
            self.current = Token()
        return headers
