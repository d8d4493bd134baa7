"""The unary calls over grpc.aio, behind the `ObjectStore` port, with their retries."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import grpc
import grpc.aio
import trio
from google.protobuf.message import DecodeError

from gcsmux_fs.model.backoff import Backoff, TokenRenewal, requested_pause
from gcsmux_fs.model.errors import (
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
    Unsupported,
    storage_error,
)
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo
from gcsmux_fs.settings.defaults import DEFAULT_READ_TIMEOUT_SECONDS
from gcsmux_fs.storage.asyncio_bridge import CancelledByAsyncio, await_asyncio
from gcsmux_fs.storage.channels import ChannelSettings, renewal_failure, request_headers
from gcsmux_fs.storage.codec import bucket_path, decode_object
from gcsmux_fs.storage.listing_decoder import decode_listing
from gcsmux_fs.storage.pb import storage_pb2 as pb
from gcsmux_fs.storage.status_details import details_of, retry_seconds

if TYPE_CHECKING:
    from collections.abc import Callable
    from random import Random

    from google.protobuf.message import Message

    from gcsmux_fs.storage.connections import Connections
    from gcsmux_fs.storage.tokens import Tokens

__all__ = ["GrpcObjectStore", "UnaryPolicy"]

log = logging.getLogger(__name__)

_SERVICE = "/google.storage.v2.Storage/"
_CONTROL = "/google.storage.control.v2.StorageControl/"
_READ_PERMISSION = "storage.objects.get"
_ANY_NAME = "/"

# What Google's own clients retry for idempotent calls, and ABORTED, which a front end under load
# answers as well (https://cloud.google.com/storage/docs/retry-strategy).
_RETRYABLE = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.RESOURCE_EXHAUSTED,
        StatusCode.ABORTED,
    }
)

Answer = TypeVar("Answer", bound="Message")


@dataclass(frozen=True, slots=True)
class UnaryPolicy:
    """How long a call may take and how it is tried again; all in seconds.

    `total_seconds` bounds one operation with all its attempts, so that a program waiting in
    `stat` or `ls` gets an errno; `attempt_seconds` bounds one attempt (60 s in the service's own
    configuration); the backoff doubles from `first_backoff_seconds` to `max_backoff_seconds`.
    """

    total_seconds: float = DEFAULT_READ_TIMEOUT_SECONDS
    attempt_seconds: float = 60.0
    first_backoff_seconds: float = 0.1
    max_backoff_seconds: float = 10.0


class GrpcObjectStore:
    """Unary calls on one bucket.

    Args:
        connections: what the calls go over, and nothing else.
        settings: what their channels are made from.
        bucket: the bucket's plain name.
        policy: times and retries.
        random: source of jitter.
        hierarchical: the bucket has folders of its own, which listings are to show.
        retries: how often all calls of the mount together may be tried again.
        tokens: what the channels give to their calls.
    """

    def __init__(
        self,
        connections: Connections[grpc.aio.Channel],
        settings: ChannelSettings,
        bucket: str,
        *,
        policy: UnaryPolicy,
        random: Random,
        hierarchical: bool = False,
        retries: RetryBudget | None = None,
        tokens: Tokens | None = None,
    ) -> None:
        self._connections = connections
        self._bucket = bucket
        self._path = bucket_path(bucket)
        self._policy = policy
        self._random = random
        self._retries = retries or RetryBudget()
        self._tokens = tokens
        self._headers = request_headers(settings, self._path, "")
        self._hierarchical = hierarchical
        self.requests = 0

    async def get_bucket(self, prefix: str = "") -> BucketInfo:
        """Return the bucket's layout, which whoever may list its objects may ask for.

        With a `prefix`, so may who may list what begins with it.
        Where the call itself is refused or missing, the bucket counts as flat; whether it is there
        and readable, a listing tells.
        """
        try:
            layout = await self._call(
                f"{_CONTROL}GetStorageLayout",
                pb.GetStorageLayoutRequest(name=f"{self._path}/storageLayout", prefix=prefix),
                partial(_layout_of, self._bucket),
                subject=f"bucket {self._bucket}",
            )
        except Unauthenticated:
            raise
        except (PermissionDenied, Unsupported):
            return BucketInfo(self._bucket)
        return BucketInfo(self._bucket, layout.location_type, layout.hierarchical_namespace.enabled)

    async def may_read(self, prefix: str) -> bool:
        """Tell whether the caller may read objects whose names begin with `prefix`.

        Any caller may ask this. Where a server cannot tell, as emulators, one object is asked for.
        """
        resources = [self._path, f"{self._path}/objects/{prefix}"]
        for resource in resources[: 2 if prefix else 1]:
            try:
                granted = await self._call(
                    f"{_SERVICE}TestIamPermissions",
                    pb.TestIamPermissionsRequest(resource=resource, permissions=[_READ_PERMISSION]),
                    pb.TestIamPermissionsResponse.FromString,
                    subject=f"permissions of {resource}",
                )
            except Unsupported:
                return await self._is_told_of(prefix or _ANY_NAME)
            except Unauthenticated:
                raise
            except (NotFound, PermissionDenied):
                continue
            if _READ_PERMISSION in granted.permissions:
                return True
        return False

    async def _is_told_of(self, name: str) -> bool:
        """Tell whether the service says if there is an object of this name."""
        try:
            await self.get_object(name)
        except NotFound:
            return True
        except PermissionDenied:
            return False
        return True

    async def get_object(self, name: str, generation: int = 0) -> ObjectInfo:
        """Return one object (see `ObjectStore.get_object`)."""
        message = await self._call(
            f"{_SERVICE}GetObject",
            pb.GetObjectRequest(bucket=self._path, object=name, generation=generation),
            partial(_object_named, name),
            subject=f"gs://{self._bucket}/{name!r}",
        )
        return decode_object(message)

    async def list_objects(
        self,
        prefix: str,
        *,
        delimiter: str = "",
        page_token: str = "",
        page_size: int = 1000,
        start_at: str = "",
        end_before: str = "",
    ) -> ListingPage:
        """Return one page of a listing (see `ObjectStore.list_objects`)."""
        page = await self._call(
            f"{_SERVICE}ListObjects",
            pb.ListObjectsRequest(
                parent=self._path,
                prefix=prefix,
                delimiter=delimiter,
                page_token=page_token,
                page_size=page_size,
                lexicographic_start=start_at,
                lexicographic_end=end_before,
                include_trailing_delimiter=bool(delimiter),
                include_folders_as_prefixes=bool(delimiter) and self._hierarchical,
            ),
            pb.ListObjectsResponse.FromString,
            subject=f"listing of gs://{self._bucket}/{prefix!r}",
        )
        return decode_listing(page)

    async def _call(
        self,
        method: str,
        request: Message,
        parse: Callable[[bytes], Answer],
        *,
        subject: str,
    ) -> Answer:
        policy = self._policy
        deadline = trio.current_time() + policy.total_seconds
        backoff = Backoff(policy.first_backoff_seconds, policy.max_backoff_seconds)
        retries = 0
        data = request.SerializeToString()
        told: StorageError | None = None
        renewal = TokenRenewal()
        while True:
            remaining = deadline - trio.current_time()
            token = None if self._tokens is None else self._tokens.current
            try:
                return parse(await self._attempt(method, data, remaining))
            except grpc.aio.AioRpcError as error:
                failure = _translate(error, subject)
            except DecodeError as error:
                failure = storage_error(
                    StatusCode.INTERNAL, f"malformed answer: {error}", subject=subject
                )
            except (CancelledByAsyncio, grpc.aio.UsageError):
                raise Unavailable(
                    "the channel is closed", subject=subject, code=StatusCode.CANCELLED
                ) from None
            if token is not None and failure.code is StatusCode.UNAUTHENTICATED:
                token.refused = True
                if renewal.permit():
                    continue
            # gRPC reports credentials that cannot be renewed as UNAVAILABLE; trying again is vain.
            if failure.code not in _RETRYABLE or renewal_failure(failure.message) is not None:
                raise failure
            now = trio.current_time()
            own = backoff.delay(retries, self._random)
            requested = requested_pause(failure.retry_seconds, self._random)
            wait = self._retries.take(now)
            delay = max(own, requested) + wait
            if told is None or failure.code is not StatusCode.DEADLINE_EXCEEDED:
                told = failure
            if now + delay >= deadline:
                self._retries.give_back(now + wait)
                # That our own time is up says less than what the service said before.
                raise told
            log.debug("%s: trying again in %.2f s", failure, delay)
            await trio.sleep(delay)
            retries += 1

    async def _attempt(self, method: str, data: bytes, remaining: float) -> bytes:
        self.requests += 1
        timeout = min(self._policy.attempt_seconds, remaining)
        return await await_asyncio(self._answer(method, data, timeout))

    async def _answer(self, method: str, data: bytes, timeout: float) -> bytes:
        """Carry one attempt out, on asyncio's side, and note whether its connection is alive."""
        clock = asyncio.get_running_loop().time
        begun = clock()
        connection = self._connections.pick(begun)
        start: grpc.aio.UnaryUnaryMultiCallable[bytes, bytes] = connection.channel.unary_unary(
            method, request_serializer=None, response_deserializer=None
        )
        connection.begun()
        connection.sent(begun)
        try:
            answer = await start(data, metadata=self._headers, timeout=timeout)
        except grpc.aio.AioRpcError as error:
            timed_out = error.code() is grpc.StatusCode.DEADLINE_EXCEEDED
            if timed_out and clock() - begun >= timeout:
                connection.given_up(clock())
            else:
                connection.heard()
            raise
        except asyncio.CancelledError:
            connection.given_up(clock())
            raise
        else:
            connection.heard()
            return answer
        finally:
            connection.ended(clock())


def _object_named(name: str, data: bytes) -> pb.Object:
    """Parse an answer that has to be of one object: no bytes at all are a message as well.

    Raises:
        DecodeError: it is of another.
    """
    message = pb.Object.FromString(data)
    if message.name != name:
        raise DecodeError(f"it is of the object {message.name!r}")
    return message


def _layout_of(bucket: str, data: bytes) -> pb.StorageLayout:
    """Parse an answer that has to be of a bucket, whether it repeats its name or not.

    Raises:
        DecodeError: it is of another, or says nothing at all, as a server does that knows nothing.
    """
    message = pb.StorageLayout.FromString(data)
    if not data:
        raise DecodeError("it is empty")
    if message.name and not message.name.endswith(f"/buckets/{bucket}/storageLayout"):
        raise DecodeError(f"it is of {message.name!r}")
    return message


def _translate(error: grpc.aio.AioRpcError, subject: str) -> StorageError:
    code = StatusCode(error.code().value[0])
    failure = storage_error(code, error.details() or code.name.lower(), subject=subject)
    failure.retry_seconds = retry_seconds(details_of(error.trailing_metadata()))
    return failure
