"""Adds access tokens to calls, and renews a token that the service refuses.

google-auth renews a token some minutes before it expires by the local clock. The service may refuse
a token earlier, because the token was revoked or the local clock was set back. A refused call marks
the token that it used. The next call drops a marked token and fetches a new token.

Threads: for each call, gRPC asks for the headers in a separate thread. A lock lets only one of
these threads fetch a token at a time. The threads that waited for the lock use the same token, or
report the same error if the fetch failed.
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

# Minimum time between two drops of refused tokens. Without this limit, a service that refuses every
# token would cause a request to the token server for each call.
_DROP_INTERVAL_SECONDS = 10.0


class Token:
    """Stands for one access token. A refused call sets `refused` on the token that it used."""

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = False


class Tokens(grpc.AuthMetadataPlugin):
    """A gRPC plugin that adds an access token to each call; the next call uses `current`.

    A call remembers `current` when it begins, but gRPC may send the call with a newer token. If the
    service then refuses the call, the call marks the older token. This mark has no effect, because
    the older token is no longer used. No effect is needed, because the newer token has just been
    fetched, so another fetch would not help.
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
        self._last_error = Exception()

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        """Pass the headers of one call to gRPC. If this method raises, gRPC fails the call."""
        failures = self._failures
        with self._lock:
            if self._failures != failures:
                # The fetch that this thread waited for has failed.
                raise self._last_error
            try:
                headers = self._headers(context)
            except Exception as error:
                self._failures += 1
                self._last_error = error
                raise
        callback(tuple(headers.items()), None)

    def _headers(self, context: grpc.AuthMetadataContext) -> dict[str, str]:
        credentials = self._credentials
        now = self._clock()
        if self.current.refused and now >= self._next_drop:
            self._next_drop = now + _DROP_INTERVAL_SECONDS
            credentials.token = None
        previous = credentials.token
        headers: dict[str, str] = {}
        credentials.before_request(self._request, context.method_name, context.service_url, headers)
        if credentials.token != previous:
            self.current = Token()
        return headers
