"""Makes unary calls over grpc.aio, with retries and deadlines."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
import trio
from google.protobuf.message import DecodeError

from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.model.backoff import Backoff, TokenRenewal, requested_pause
from gcsmux_fs.model.errors import StatusCode, StorageError, Unavailable, storage_error
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS
from gcsmux_fs.storage.asyncio_bridge import CancelledByAsyncio, await_asyncio
from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.request_outcomes import RequestOutcomes
from gcsmux_fs.storage.status_details import details_of, retry_seconds

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from random import Random

    from google.protobuf.message import Message

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.storage.channels import Metadata
    from gcsmux_fs.storage.connections import Connections
    from gcsmux_fs.storage.tokens import Tokens

__all__ = ["UnaryCaller", "UnaryPolicy"]

log = logging.getLogger(__name__)

# Statuses after which a call is retried. Google's own clients retry them for idempotent calls
# (https://cloud.google.com/storage/docs/retry-strategy), except ABORTED. ABORTED is included
# because a front end under load can answer with it.
_RETRYABLE = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
    }
)

_STORAGE_METHODS = (
    "GetBucket",
    "GetObject",
    "GetStorageLayout",
    "ListObjects",
    "TestIamPermissions",
)

Answer = TypeVar("Answer", bound="Message")


@dataclass(frozen=True, slots=True)
class UnaryPolicy:
    """Deadlines and backoff of unary calls, in seconds.

    Attributes:
        total_seconds: time limit for one call with all its attempts. After this time, a program
            that waits in `stat` or `ls` gets an errno.
        attempt_seconds: time limit for one attempt; 60 s as in the service's own client
            configuration.
        first_backoff_seconds: upper bound of the delay before the first retry; each further retry
            doubles the bound.
        max_backoff_seconds: upper bound of the delay before any retry.
    """

    total_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    attempt_seconds: float = 60.0
    first_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 10.0


class UnaryCaller:
    """Makes unary calls and retries them.

    Args:
        connections: the connections that carry these calls and no others.
        headers: the gRPC headers of every call.
        policy: deadlines and backoff.
        random: source of jitter.
        retries: limits the retries of all calls of the mount.
        tokens: adds an access token to each call; None if calls need no token.
        billed: the counters to which the calls are added.
        outcomes: counts the calls by their status.
        methods: the names of the methods that are called.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        headers: Metadata,
        *,
        policy: UnaryPolicy,
        random: Random,
        retries: RetryBudget | None = None,
        tokens: Tokens | None = None,
        billed: BilledRequests | None = None,
        outcomes: RequestOutcomes | None = None,
        methods: Sequence[str] = _STORAGE_METHODS,
    ) -> None:
        self._connections = connections
        self._headers = headers
        self._policy = policy
        self._backoff = Backoff(policy.first_backoff_seconds, policy.max_backoff_seconds)
        self._random = random
        self._retries = retries or RetryBudget()
        self._tokens = tokens
        self._billed = billed or BilledRequests()
        self._outcomes = outcomes or RequestOutcomes()
        #: Number of attempts of all calls so far, including retries.
        self.requests = 0
        #: Measured duration of each attempt in seconds, by gRPC method.
        self.attempt_times = {method: Histogram() for method in methods}

    def declare_metrics(self, registry: Registry) -> None:
        """Declare `unary_requests` and `unary_call_seconds`."""
        registry.counter(
            "unary_requests",
            "requests",
            "Attempts of unary calls, including retries.",
            lambda: self.requests,
        )
        for method, times in self.attempt_times.items():
            registry.histogram(
                "unary_call_seconds",
                "Duration of one attempt of a unary call, until it is answered or fails.",
                times,
                {"method": method},
            )

    async def call(
        self,
        method: str,
        request: Message,
        parse: Callable[[bytes], Answer],
        *,
        subject: str,
    ) -> Answer:
        """Make a call and return its parsed answer.

        Args:
            method: full name of the gRPC method, `/package.Service/Method`.
            request: the message to send.
            parse: parses the answer, or raises DecodeError.
            subject: the object or bucket that the call is about; used in error messages.

        Raises:
            StorageError: the call failed, or did not succeed within `policy.total_seconds`.
        """
        deadline = trio.current_time() + self._policy.total_seconds
        data = request.SerializeToString()
        renewal = TokenRenewal()
        retries = 0
        last_error: StorageError | None = None
        while True:
            token = None if self._tokens is None else self._tokens.current
            try:
                return parse(await self._attempt(method, data, deadline))
            except grpc.aio.AioRpcError as error:
                failure = _translate(error, subject)
            except DecodeError as error:
                failure = storage_error(
                    StatusCode.INTERNAL, f"malformed answer: {error}", subject=subject
                )
            except (CancelledByAsyncio, grpc.aio.UsageError):
                raise _channel_closed(subject) from None
            if token is not None and failure.code is StatusCode.UNAUTHENTICATED:
                token.refused = True
                if renewal.permit():
                    continue
            failure = self._without_token(failure, subject)
            if failure.code not in _RETRYABLE:
                raise failure
            # If this attempt ended with DEADLINE_EXCEEDED, report the earlier error, if any,
            # because the earlier error tells more about the cause.
            if last_error is None or failure.code is not StatusCode.DEADLINE_EXCEEDED:
                last_error = failure
            if not await self._wait_to_retry(failure, retries, deadline):
                raise last_error
            retries += 1

    def _without_token(self, failure: StorageError, subject: str) -> StorageError:
        """Return the error for a call for which there was no token; other errors unchanged."""
        tokens = self._tokens
        if tokens is None or failure.code is None or not tokens.is_missing(failure.message):
            return failure
        code, message = tokens.classify(failure.code, failure.message)
        return storage_error(code, message, subject=subject)

    async def _wait_to_retry(self, failure: StorageError, retries: int, deadline: float) -> bool:
        """Sleep until the next attempt; if its time is after the deadline, return False at once."""
        now = trio.current_time()
        backoff = self._backoff.delay(retries, self._random)
        pause = requested_pause(failure.retry_seconds, self._random)
        budget_wait = self._retries.take(now)
        delay = max(backoff, pause) + budget_wait
        if now + delay >= deadline:
            self._retries.give_back(now + budget_wait)
            return False
        log.debug("%s: retrying in %.2f s", failure, delay)
        await trio.sleep(delay)
        return True

    async def _attempt(self, method: str, data: bytes, deadline: float) -> bytes:
        self.requests += 1
        name = method.rpartition("/")[2]
        begin = trio.current_time()
        timeout = min(self._policy.attempt_seconds, deadline - begin)
        code = StatusCode.CANCELLED
        try:
            answer = await await_asyncio(self._attempt_on_asyncio(method, data, timeout))
            code = StatusCode.OK
            return answer
        except grpc.aio.AioRpcError as error:
            code = StatusCode(error.code().value[0])
            raise
        finally:
            self.attempt_times[name].observe(trio.current_time() - begin)
            self._billed.note_unary_call(name, succeeded=code is StatusCode.OK)
            self._outcomes.note(name, code)

    async def _attempt_on_asyncio(self, method: str, data: bytes, timeout: float) -> bytes:
        """Make one attempt, and record whether its connection is alive."""
        clock = asyncio.get_running_loop().time
        begin = clock()
        connection = self._connections.pick(begin)
        start: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = connection.channel.unary_unary(
            method, request_serializer=None, response_deserializer=None
        )
        connection.note_begin()
        connection.note_sent(begin)
        try:
            answer = await start(data, metadata=self._headers, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            timed_out = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if timed_out and clock() - begin >= timeout:
                connection.note_abandoned(clock())
            else:
                connection.note_received()
            raise
        except asyncio.CancelledError:
            connection.note_abandoned(clock())
            raise
        else:
            connection.note_received()
            return answer
        finally:
            connection.note_end(clock())


def _channel_closed(subject: str) -> Unavailable:
    return Unavailable("the channel is closed", subject=subject, code=StatusCode.CANCELLED)


def _translate(error: grpc.aio.AioRpcError, subject: str) -> StorageError:
    code = StatusCode(error.code().value[0])
    failure = storage_error(code, error.details() or code.name.lower(), subject=subject)
    failure.retry_seconds = retry_seconds(details_of(error.trailing_metadata()))
    return failure
