"""Adds access tokens to calls. A thread fetches the tokens, so that calls rarely wait for one.

`token_schedule.py` decides when a token is fetched, and which calls wait for it. This module has
the thread that fetches, and the lock. All fetches happen in this thread, one at a time. Calls that
wait for a token share its fetch, and share its error if the fetch fails.

The service may refuse a token before it expires, because the token was revoked or the local clock
was set back. A refused call marks the token that it used. The next call drops a marked token and
waits for a new token.
"""

from __future__ import annotations

import logging
import math
import random
import threading
import time
from typing import TYPE_CHECKING, Protocol

import grpc

from gcsmux_fs.model.errors import CredentialsError, StatusCode
from gcsmux_fs.storage.token_schedule import TokenDecision, TokenSchedule

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.fetched_token import FetchedToken

__all__ = ["Token", "TokenSource", "Tokens"]

log = logging.getLogger(__name__)

# Part of gRPC's error message if no token could be fetched for a call.
_PLUGIN_FAILED = "Getting metadata from plugin failed"

# Minimum time between two checks whether the file of the token source has changed. One check takes
# some microseconds of the thread that fetches; calls never wait for it.
_CHECK_INTERVAL_SECONDS = 1.0


class TokenSource(Protocol):
    """Where the tokens come from. Only one thread at a time calls the methods; they may block."""

    @property
    def identity(self) -> str:
        """Whose tokens these are, and their source; never a secret."""

    @property
    def has_file(self) -> bool:
        """Whether `changed` can ever return True."""

    def changed(self) -> bool:
        """Return whether the file of the credentials has changed since it was last read."""

    def fetch(self) -> FetchedToken:
        """Return a token from the source.

        Raises:
            CredentialsError: there is no token.
        """


class Token:
    """Stands for one access token. A refused call sets `refused` on the token that it used."""

    __slots__ = ("refused",)

    def __init__(self) -> None:
        self.refused = False


def _now() -> float:
    """Return seconds of a clock that goes on while the machine sleeps, as tokens age then too."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Tokens(grpc.AuthMetadataPlugin):
    """A gRPC plugin that adds an access token to each call; the next call uses `current`.

    A call remembers `current` when it begins, but gRPC may send the call with a newer token. If the
    service then refuses the call, the call marks the older token. This mark has no effect, because
    the older token is no longer used. No effect is needed, because the newer token has just been
    fetched, so another fetch would not help.

    Args:
        source: fetches the tokens.
        busy: returns whether calls are open; asked in the thread that fetches.
        clock: the time in seconds.

    Attributes:
        current: the token that the next call uses.
        failure: the error of the last fetch; None if it succeeded.
        fetches: number of fetches so far.
        waits: number of calls so far that waited for a token.
    """

    def __init__(
        self,
        source: TokenSource,
        *,
        busy: Callable[[], bool] = lambda: False,
        clock: Callable[[], float] = _now,
    ) -> None:
        self.current = Token()
        self.failure: CredentialsError | None = None
        self.fetches = 0
        self.waits = 0
        self._source = source
        self._busy = busy
        self._clock = clock
        self._schedule = TokenSchedule(random.Random(), clock())
        self._token: FetchedToken | None = None
        self._waiting: list[grpc.AuthMetadataPluginCallback] = []
        self._check_at = clock() + _CHECK_INTERVAL_SECONDS
        self._check_wanted = False
        self._closed = False
        # When the thread that fetches wakes up by itself.
        self._sleeps_until = math.inf
        # Protects all attributes, and wakes up the thread that fetches.
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="tokens", daemon=True)

    @property
    def identity(self) -> str:
        """Whose tokens these are, and their source; never a secret."""
        return self._source.identity

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of the tokens."""
        registry.counter(
            "token_fetches", "requests", "Access tokens fetched, or tried.", lambda: self.fetches
        )
        registry.counter(
            "token_waits", "calls", "Calls that waited for an access token.", lambda: self.waits
        )

    def first(self) -> None:
        """Fetch the first token. Call this method before `start`.

        Raises:
            CredentialsError: there is no token.
        """
        self._fetch()
        if self.failure is not None:
            raise self.failure

    def start(self) -> None:
        """Start the thread that fetches tokens."""
        self._thread.start()

    def close(self) -> None:
        """End the thread that fetches. It does not wait for a fetch that is running."""
        with self._changed:
            self._closed = True
            self._changed.notify()

    def __call__(
        self, context: grpc.AuthMetadataContext, callback: grpc.AuthMetadataPluginCallback
    ) -> None:
        """Pass the headers of one call to gRPC, now or when a token has been fetched."""
        headers: tuple[tuple[str, str], ...] = ()
        failure: CredentialsError | None = None
        with self._changed:
            now = self._clock()
            decision = self._schedule.use(now, refused=self.current.refused)
            if decision is TokenDecision.WAIT:
                self.waits += 1
                self._waiting.append(callback)
            elif decision is TokenDecision.USE and self._token is not None:
                headers = self._token.headers
            else:
                failure = self.failure
            if self._source.has_file and now >= self._check_at:
                self._check_at = now + _CHECK_INTERVAL_SECONDS
                self._check_wanted = True
            due = self._due(now)
            # A past due time shows that the machine was asleep, because the thread then was, too.
            if self._check_wanted or due < self._sleeps_until or due <= now:
                self._changed.notify()
        if decision is not TokenDecision.WAIT:
            callback(headers, failure)

    @staticmethod
    def is_missing(message: str) -> bool:
        """Return whether gRPC's message says that a call failed because it got no token."""
        return _PLUGIN_FAILED in message

    def classify(self, code: StatusCode, message: str) -> tuple[StatusCode, str]:
        """Return the status and the message for a failed call that got no token.

        gRPC reports UNAVAILABLE. If the token server refuses the credentials, the status becomes
        UNAUTHENTICATED, so that a reader fails at once.
        """
        reason = message.partition(_PLUGIN_FAILED)[2].removeprefix(" with error:").strip()
        permanent = self.failure is not None and self.failure.permanent
        return (StatusCode.UNAUTHENTICATED if permanent else code), reason

    def _due(self, now: float) -> float:
        return self._schedule.due(now, busy=self._busy())

    # -- the thread that fetches

    def _run(self) -> None:
        while self._wait_until_due():
            self._fetch()

    def _wait_until_due(self) -> bool:
        """Wait until a token must be fetched; return False if the tokens have been closed."""
        while True:
            with self._changed:
                while not self._closed and not self._check_wanted:
                    now = self._clock()
                    due = self._due(now)
                    if due <= now:
                        return True
                    self._sleeps_until = due
                    self._changed.wait(min(due - now, threading.TIMEOUT_MAX))
                if self._closed:
                    return False
                self._check_wanted = False
            # Outside of the lock, because the file may be on a file system that hangs.
            if self._source.changed():
                with self._changed:
                    self._schedule.renew_soon(self._clock())

    def _fetch(self) -> None:
        """Fetch a token, and answer the calls that wait for it."""
        token: FetchedToken | None = None
        failure: CredentialsError | None = None
        try:
            token = self._source.fetch()
        except CredentialsError as error:
            failure = error
        except Exception as error:
            log.exception("an access token could not be fetched")
            failure = CredentialsError(f"the credentials cannot be renewed: {error!r}")
        with self._changed:
            self.fetches += 1
            self.failure = failure
            now = self._clock()
            if token is None:
                self._schedule.failed(now)
            else:
                same = self._token is not None and self._token.headers == token.headers
                self._schedule.fetched(now, token.lifetime_seconds, same=same)
                self._token = token
                if not same:
                    self.current = Token()
            waiting, self._waiting = self._waiting, []
            first_failure = self._schedule.failures == 1 and self._token is not None
        if first_failure and not waiting:
            log.warning("%s. The current access token stays in use.", failure)
        for callback in waiting:
            try:
                callback(() if token is None else token.headers, failure)
            except Exception:
                # gRPC has no documented error here, but without this thread no token is fetched.
                log.exception("a call could not be given its access token")
