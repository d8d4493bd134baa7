"""Runs a mount from its start to its end, and creates and connects all parts of the mount.

The parts start in the order from the network to the kernel: connections, bucket check, streams,
names, files, the kernel's mount. The parts end in the reverse order.
"""

from __future__ import annotations

import functools
import json
import logging
import random
import resource
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import trio

from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.file_attributes import AttributePolicy
from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
from gcsmux_fs.fuse.main_loop import MAX_REQUESTS
from gcsmux_fs.fuse.name_pruning import NamePruner
from gcsmux_fs.fuse.session import serve_kernel
from gcsmux_fs.metrics.readable import readable_lines
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import (
    ConfigError,
    MountLost,
)
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.namespace.tree import Tree
from gcsmux_fs.process import malloc
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.process.heartbeats import Heartbeats
from gcsmux_fs.process.log_storms import UNLIMITED
from gcsmux_fs.process.memory_watch import block_budget, watch_memory
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.measured_source import MeasuredSource
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.bucket_check import check_bucket
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.connections import CALLS_PER_CONNECTION, CONNECTION_SILENCE_SECONDS
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.object_store import GrpcObjectStore
from gcsmux_fs.storage.read_object import GrpcRangeReads
from gcsmux_fs.storage.unary_calls import UnaryPolicy
from gcsmux_fs.timeouts import stream_policy, unary_policy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.model.errors import GcsmuxError
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.bucket_check import CheckedBucket
    from gcsmux_fs.storage.channels import Channels

__all__ = ["serve"]

log = logging.getLogger(__name__)

# Timeouts of the bucket check at the start. A mistyped endpoint is reported within 6 s.
_STARTUP_POLICY = UnaryPolicy(total_seconds=6.0, attempt_seconds=5.0, max_backoff_seconds=1.0)

# Number of seconds that a lookup waits longer than its unary call may take. The call therefore
# fails before the lookup, and the lookup reports the error of the call, because this error names
# the cause.
_LOOKUP_EXTRA_SECONDS = 0.5

# Maximum number of connections for streams, and also maximum number of connections for unary calls.
# Unary calls have their own connections, so that lookups never wait behind streams. Each maximum is
# enough for all requests that the mount serves at a time (`MAX_REQUESTS`), so that no call waits in
# gRPC behind calls that hang. A connection is made when it is needed.
_MAX_CONNECTIONS = -(-MAX_REQUESTS // CALLS_PER_CONNECTION)

# Number of file descriptors that are reserved for everything except connections. The process needs
# fewer for this. Each connection takes one file descriptor.
_OTHER_DESCRIPTORS = 40


class _Measured(Protocol):
    def declare_metrics(self, registry: Registry) -> None: ...


@dataclass(frozen=True, slots=True)
class _Service:
    """The checked bucket, and the objects that connect the mount to the service."""

    bucket: CheckedBucket
    store: GrpcObjectStore
    streams: GrpcBidiTransport
    transport: FallbackTransport
    deferred_calls: DeferredCalls
    random: random.Random
    stream_retries: RetryBudget


def serve(settings: Settings, reporter: ReadinessReporter) -> int:
    """Mount the bucket and serve it until it is unmounted. Return the exit code.

    `reporter` reports that the mount is ready when the mount answers.

    Raises:
        ConfigError: the mount could not start; the message is one sentence for the user.
        MountLost: the connection to the kernel was aborted.
    """
    if not malloc.tune():
        log.debug("the C library does not support tuning of its allocator")
    try:
        asyncio_bridge.run(functools.partial(_serve, settings, reporter))
    except BaseExceptionGroup as group:
        # A ConfigError or a MountLost holds a sentence for the user. This sentence helps more than
        # the other errors of the group, so only this error is raised.
        sentences, _ = group.split((ConfigError, MountLost))
        if sentences is None:
            raise
        raise _first_leaf(sentences) from None
    return 0


def _first_leaf(group: BaseExceptionGroup[GcsmuxError]) -> GcsmuxError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


async def _serve(settings: Settings, reporter: ReadinessReporter) -> None:
    metrics = Registry()
    async with (
        _beating(Heartbeats()),
        _connected(settings, reporter, metrics) as service,
    ):
        async with trio.open_nursery() as tasks:
            await _serve_bucket(settings, reporter, service, metrics, tasks)
            tasks.cancel_scope.cancel()
        service.transport.close()
        await service.streams.drain()
    # All parts of the mount have ended, so gauges such as `streams_open` are zero.
    _log_statistics(metrics)


@asynccontextmanager
async def _beating(heartbeats: Heartbeats) -> AsyncIterator[None]:
    """Record the heartbeats of both event loops while the block runs."""

    async def beat_in_asyncio() -> None:
        await asyncio_bridge.await_asyncio(heartbeats.beat_in_asyncio())

    async with trio.open_nursery() as tasks:
        tasks.start_soon(heartbeats.beat_in_trio)
        tasks.start_soon(beat_in_asyncio)
        yield
        tasks.cancel_scope.cancel()


@asynccontextmanager
async def _connected(
    settings: Settings, reporter: ReadinessReporter, metrics: Registry
) -> AsyncIterator[_Service]:
    """Connect to the service and check the bucket; close all connections at the end."""
    channel_settings = ChannelSettings(
        settings.endpoint,
        plaintext=settings.plaintext,
        anonymous=settings.anonymous,
        key_file=settings.key_file,
        billing_project=settings.billing_project,
    )
    channels = await open_channels(channel_settings)
    try:
        service = await _new_service(settings, channel_settings, channels, metrics)
        if service.bucket.warning:
            log.warning("%s", service.bucket.warning)
            reporter.warn(service.bucket.warning)
        yield service
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()


async def _new_service(
    settings: Settings, channel_settings: ChannelSettings, channels: Channels, metrics: Registry
) -> _Service:
    stall_seconds = stream_policy(settings.read_timeout_seconds).stall_seconds
    new_connections = functools.partial(
        channels.connections,
        _connection_limit(resource.getrlimit(resource.RLIMIT_NOFILE)[0]),
        min(CONNECTION_SILENCE_SECONDS, stall_seconds / 2),
    )
    randomness = random.Random()
    # The budgets are separate, so that thousands of failing lookups do not delay the reopening of
    # a stream.
    stream_retries, unary_retries = RetryBudget(), RetryBudget()
    billed = BilledRequests()
    new_store = functools.partial(
        GrpcObjectStore,
        new_connections(),
        channel_settings,
        settings.bucket,
        random=randomness,
        tokens=channels.tokens,
    )
    # The bucket check has a `BilledRequests` of its own, so the metrics do not count the check.
    bucket = await check_bucket(
        new_store(policy=_STARTUP_POLICY, billed=BilledRequests()), settings
    )
    store = new_store(
        billed=billed,
        policy=unary_policy(settings.read_timeout_seconds),
        hierarchical=bucket.info.hierarchical,
        retries=unary_retries,
    )
    streams = GrpcBidiTransport(
        new_connections(), channel_settings, tokens=channels.tokens, billed=billed
    )
    deferred_calls = DeferredCalls()
    transport = FallbackTransport(
        streams,
        GrpcRangeReads(streams, channel_settings),
        clock=trio.current_time,
        call_soon=deferred_calls,
    )
    metrics.section = "the service"
    for room in (store, streams, transport):
        room.declare_metrics(metrics)
    _declare_retries(metrics, stream_retries, unary_retries)
    return _Service(bucket, store, streams, transport, deferred_calls, randomness, stream_retries)


def _declare_retries(metrics: Registry, *budgets: RetryBudget) -> None:
    text = "Retries of streams and unary calls."
    metrics.counter("retries", "retries", text, lambda: sum(budget.taken for budget in budgets))


async def _serve_bucket(
    settings: Settings,
    reporter: ReadinessReporter,
    service: _Service,
    metrics: Registry,
    tasks: trio.Nursery,
) -> None:
    """Create all parts between service and kernel, mount, and serve until the mount ends."""
    streams = StreamRegistry(
        service.transport,
        stream_policy(settings.read_timeout_seconds),
        service.random,
        call_soon=service.deferred_calls,
        retries=service.stream_retries,
    )
    names = NamePruner()
    tree = _new_tree(settings, service, names, tasks)
    context = _new_read_context(settings, streams)
    filesystem = BucketFilesystem(
        tree,
        context,
        AttributePolicy.of(settings),
        bucket=settings.bucket,
        call_soon=service.deferred_calls,
    )
    read_ahead = KernelReadAhead(settings.kernel_read_ahead_bytes)
    rooms: dict[str, _Measured] = {
        "streams": streams,
        "names": tree,
        "reads": context,
        "the file system": filesystem,
        "the kernel": read_ahead,
    }
    for section, room in rooms.items():
        metrics.section = section
        room.declare_metrics(metrics)
    metrics.section = "the process"
    metrics.gauge(
        "resident_bytes", "bytes", "Resident memory of the process.", malloc.resident_bytes
    )
    for run in (service.deferred_calls.run, filesystem.run, names.run, streams.run):
        tasks.start_soon(run)
    tasks.start_soon(watch_memory, settings.memory_bytes, asyncio_bridge.current().arrival)
    report = functools.partial(_report_metrics, metrics)
    await serve_kernel(settings, filesystem, names, read_ahead, reporter, report)


def _new_tree(
    settings: Settings, service: _Service, names: NamePruner, tasks: trio.Nursery
) -> Tree:
    return Tree(
        service.store,
        tasks,
        prefix=settings.prefix,
        ttl_seconds=settings.metadata_ttl_seconds,
        negative_ttl_seconds=settings.negative_ttl_seconds,
        directory_mtime_ns=time.time_ns(),
        deadline_seconds=settings.read_timeout_seconds + _LOOKUP_EXTRA_SECONDS,
        on_invalidated=names.drop,
        assume_directories=not service.bucket.info.listable,
    )


def _new_read_context(settings: Settings, streams: StreamRegistry) -> ReadContext:
    """Return the context that all reads share: the block cache and the streams that fill the cache.

    If a disk cache is added, it must be a `RangeSource` that wraps the `MeasuredSource`, so that
    bytes from the disk never count as bandwidth of the network.
    """
    bandwidth = BandwidthEstimator()
    return ReadContext(
        MeasuredSource(streams, bandwidth, trio.current_time),
        bandwidth,
        budget_bytes=block_budget(settings.memory_bytes),
        read_ahead_bytes=settings.read_ahead_bytes,
        read_timeout=settings.read_timeout_seconds,
    )


def _connection_limit(descriptors: int) -> int:
    """Return the maximum number of connections for each kind of call (streams, unary calls).

    `descriptors`: maximum number of file descriptors of the process.
    """
    if descriptors == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, (descriptors - _OTHER_DESCRIPTORS) // 2))


def _report_metrics(metrics: Registry) -> None:
    """Log all metrics: lines for people, then one line for programs."""
    for line in readable_lines(metrics):
        log.info("%s", line, extra=UNLIMITED)
    _log_statistics(metrics)


def _log_statistics(metrics: Registry) -> None:
    """Log all metrics as JSON, in one line."""
    log.info("statistics %s", json.dumps(metrics.snapshot()))
