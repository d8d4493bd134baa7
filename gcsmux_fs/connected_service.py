"""Creates and connects all parts between the service and the block cache.

A mount and the fsspec file system use the same parts, and differ in what they put above the parts.
"""

from __future__ import annotations

import random
import resource
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.caching.disk_source import DiskSource
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.process.memory_watch import block_budget
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.measured_source import MeasuredSource
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.settings.service_address import service_of
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.channels import open_channels
from gcsmux_fs.storage.connections import CALLS_PER_CONNECTION, CONNECTION_SILENCE_SECONDS
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.object_store import GrpcObjectStore
from gcsmux_fs.storage.read_object import GrpcRangeReads
from gcsmux_fs.storage.request_outcomes import RequestOutcomes
from gcsmux_fs.timeouts import stream_policy, unary_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.reading.range_source import RangeSource
    from gcsmux_fs.settings.cache_options import CacheOptions
    from gcsmux_fs.storage.channels import Channels, ChannelSettings
    from gcsmux_fs.storage.ports import BidiTransport
    from gcsmux_fs.storage.unary_calls import UnaryPolicy

__all__ = ["LOOKUP_EXTRA_SECONDS", "ConnectedService", "connect"]

LOOKUP_EXTRA_SECONDS = 0.5
"""Number of seconds that a lookup waits longer than its unary call may take. The call therefore
fails before the lookup, and the lookup reports the error of the call, because this error names the
cause."""

# Number of file descriptors that are reserved for everything except connections. The process needs
# fewer for this. Each connection takes one file descriptor.
_OTHER_DESCRIPTORS = 40


class ConnectedService:
    """The objects that connect this process to the service.

    Args:
        channels: opens the connections. Unary calls have their own connections, so that lookups
            never wait behind streams.
        settings: the settings of the channels.
        read_timeout_seconds: longest duration of a read or a lookup, including all retries.
        max_calls: maximum number of calls of each kind (streams, unary calls) at the same time.
            There are enough connections for all of them, so that no call waits in gRPC behind calls
            that hang. A connection is made when it is needed.
    """

    def __init__(
        self,
        channels: Channels,
        settings: ChannelSettings,
        *,
        read_timeout_seconds: float,
        max_calls: int,
    ) -> None:
        self._settings = settings
        self._tokens = channels.tokens
        self._read_timeout = read_timeout_seconds
        self.stream_policy = stream_policy(read_timeout_seconds)
        #: Maximum number of connections for each kind of call, without the limit of open files and
        #: with it.
        self.wanted_connections = -(-max_calls // CALLS_PER_CONNECTION)
        self.connection_limit = limit = _connection_limit(
            self.wanted_connections, resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        )
        silence = min(CONNECTION_SILENCE_SECONDS, self.stream_policy.stall_seconds / 2)
        self._unary_connections = channels.connections(limit, silence)
        # The budgets are separate, so that thousands of failing lookups do not delay the reopening
        # of a stream.
        self._stream_retries, self._unary_retries = RetryBudget(), RetryBudget()
        self._billed = BilledRequests()
        #: The calls of this process by status, and whether the service is reachable.
        self.outcomes = RequestOutcomes(lambda: self._transport.messages)
        self._random = random.Random()
        self.deferred_calls = DeferredCalls()
        self._calls = GrpcBidiTransport(
            channels.connections(limit, silence),
            settings,
            tokens=channels.tokens,
            billed=self._billed,
            outcomes=self.outcomes,
        )
        self._transport = FallbackTransport(
            self._calls,
            GrpcRangeReads(self._calls, settings),
            clock=trio.current_time,
            call_soon=self.deferred_calls,
        )

    @property
    def bidi_missing(self) -> str:
        """Why BidiReadObject is missing and ReadObject replaces it; empty while it is available."""
        return self._transport.availability.reason

    @property
    def identity(self) -> str:
        """Whose credentials the calls use; empty without credentials. Contains no secret."""
        return "" if self._tokens is None else self._tokens.identity

    @property
    def uses_read_object(self) -> bool:
        """Whether content is read by ReadObject, because BidiReadObject is missing."""
        return self._transport.availability.missing

    def new_store(
        self,
        bucket: str,
        *,
        policy: UnaryPolicy | None = None,
        hierarchical: bool = False,
        is_counted: bool = True,
    ) -> GrpcObjectStore:
        """Return the unary calls on one bucket.

        `policy` has the deadlines and the backoff; by default, they follow from the read timeout.
        If `is_counted` is false, the metrics of this service do not count the calls.
        """
        return GrpcObjectStore(
            self._unary_connections,
            self._settings,
            bucket,
            policy=policy or unary_policy(self._read_timeout),
            random=self._random,
            hierarchical=hierarchical,
            retries=self._unary_retries if is_counted else None,
            tokens=self._tokens,
            billed=self._billed if is_counted else BilledRequests(),
            outcomes=self.outcomes if is_counted else None,
        )

    def new_streams(
        self, wrap: Callable[[BidiTransport], BidiTransport] = lambda transport: transport
    ) -> StreamRegistry:
        """Return the registry of the streams of all buckets. The caller runs its `run` method.

        `wrap` may wrap the transport that opens the streams.
        """
        return StreamRegistry(
            wrap(self._transport),
            self.stream_policy,
            self._random,
            call_soon=self.deferred_calls,
            retries=self._stream_retries,
        )

    def new_disk_source(
        self, options: CacheOptions | None, *, memory_bytes: int
    ) -> DiskSource | None:
        """Return the cache on disk, which is not open yet; None if the user wants none."""
        if options is None:
            return None
        return DiskSource(
            options,
            service_of(self._settings.endpoint),
            memory_bytes=memory_bytes,
            call_soon=self.deferred_calls,
        )

    def new_read_context(
        self,
        streams: RangeSource,
        *,
        memory_bytes: int,
        read_ahead_bytes: int,
        disk: DiskSource | None = None,
    ) -> ReadContext:
        """Return what all reads share: the block cache, and what fills it.

        The cache on disk is above the `MeasuredSource`, so that bytes from the disk never count as
        bandwidth of the network. Its memory is a part of `memory_bytes`.
        """
        bandwidth = BandwidthEstimator()
        source: RangeSource = MeasuredSource(streams, bandwidth, trio.current_time)
        budget_bytes = block_budget(memory_bytes)
        if disk is not None:
            disk.read_from(source)
            source = disk
            budget_bytes -= disk.queue_bytes
        context = ReadContext(
            source,
            bandwidth,
            budget_bytes=budget_bytes,
            read_ahead_bytes=read_ahead_bytes,
            read_timeout=self._read_timeout,
            lower_tier=disk,
        )
        if disk is not None:
            disk.recall_from(context.cached_bytes)
        return context

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the metrics of streams and retries. Each store declares its own metrics."""
        self._calls.declare_metrics(registry)
        if self._tokens is not None:
            self._tokens.declare_metrics(registry)
        self._transport.declare_metrics(registry)
        self.outcomes.declare_metrics(registry)
        budgets = (self._stream_retries, self._unary_retries)
        text = "Retries of streams and unary calls."
        registry.counter(
            "retries", "retries", text, lambda: sum(budget.taken for budget in budgets)
        )

    async def close(self) -> None:
        """End all streams. Call this after the tasks that read have ended."""
        self._transport.close()
        await self._calls.drain()


@asynccontextmanager
async def connect(
    settings: ChannelSettings,
    *,
    read_timeout_seconds: float,
    max_calls: int,
    needs_token: bool = True,
) -> AsyncIterator[ConnectedService]:
    """Connect to the service, and close all connections at the end.

    Without `needs_token`, neither the service nor the token server need be reachable yet.

    Raises:
        CredentialsError: there are no credentials, or no token could be fetched.
    """
    channels = await open_channels(settings, needs_token=needs_token)
    try:
        yield ConnectedService(
            channels, settings, read_timeout_seconds=read_timeout_seconds, max_calls=max_calls
        )
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()


def _connection_limit(most: int, descriptors: int) -> int:
    """Return the maximum number of connections for each kind of call (streams, unary calls).

    `most` is the number that all calls together need. `descriptors` is the maximum number of file
    descriptors of the process.
    """
    if descriptors == resource.RLIM_INFINITY:
        return most
    return max(1, min(most, (descriptors - _OTHER_DESCRIPTORS) // 2))
