"""Access tokens of calls, and their renewal when the service refuses one.

google-auth renews a token by its own clock, some minutes before the token expires. The service may
refuse a token earlier: it was revoked, or the local clock was set back. A refused call marks the
token that it used. The next call drops a marked token and fetches a new one.

Threads: gRPC makes the headers of each call in a thread of its own. A lock makes these threads wait
for one another, so calls that need a token at the same time fetch one token, and share a failure.
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

# Minimum time between two drops of refused tokens. Without it, a service that refuses every token
# would cause a request to the token server for each call.
_DROP_INTERVAL_SECONDS = 10.0


class Token:
    """A token as a mark only: a call that is refused sets `refused` on the token that it used."""

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = False


class Tokens(grpc.AuthMetadataPlugin):
    """Adds the headers of some credentials to each call; `current` is the token of the next call.

    A call that remembers `current` when it begins uses this token or a newer one. If it uses a
    newer one and is refused, it marks the older token, which is no longer in use: a renewal would
    not help.
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
        """Pass the headers of one call to gRPC. gRPC turns an exception into a failed call."""
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
