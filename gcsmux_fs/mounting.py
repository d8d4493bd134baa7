"""A mount from its beginning to its end: the one place where all rooms meet.

Start order is written from top to bottom, and undone from bottom to top: channel, bucket, streams,
names, the kernel's mount (see `serving`).
"""

from __future__ import annotations

import functools
import json
import logging
import random
import resource
import time
from contextlib import asynccontextmanager, closing
from dataclasses import asdict
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.fuse.attributes import AttributeEncoder
from gcsmux_fs.fuse.main_loop import MAX_REQUESTS
from gcsmux_fs.fuse.name_pruning import NamePruner
from gcsmux_fs.fuse.operations import BucketOperations
from gcsmux_fs.fuse.session import serve_kernel
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import (
    ConfigError,
    MountLost,
)
from gcsmux_fs.model.retry_budget import RetryBudget
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.namespace.tree import Tree
from gcsmux_fs.process import malloc
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.process.memory_watch import block_budget, watch_memory
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.availability import STREAM_SILENCE_SECONDS
from gcsmux_fs.storage.bidi import GrpcBidiTransport
from gcsmux_fs.storage.bucket_check import check_bucket
from gcsmux_fs.storage.channels import ChannelSettings, open_channels
from gcsmux_fs.storage.connections import CALLS_PER_CONNECTION, CONNECTION_SILENCE_SECONDS
from gcsmux_fs.storage.fallback import FallbackTransport
from gcsmux_fs.storage.read_object import GrpcRangeReads
from gcsmux_fs.storage.unary_calls import GrpcObjectStore, UnaryPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from gcsmux_fs.model.errors import GcsmuxError
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.channels import Channels

__all__ = ["serve", "stream_policy", "unary_policy"]

log = logging.getLogger(__name__)

# A user who mistyped the endpoint waits no longer than this for the sentence that says so.
_STARTUP_POLICY = UnaryPolicy(total_seconds=6.0, attempt_seconds=5.0, max_backoff_seconds=1.0)

# A single request is given up a little before the question it is part of, and tells more.
_LAST_WORD_SECONDS = 0.5

# Streams and other calls have connections of their own, so that lookups never wait behind streams.
# Of each kind there are enough for as many calls as requests are served at a time (2048, see
# `fuse.requests`), so that none waits in gRPC until calls end that hang; only those are made that
# are needed. Each takes a file descriptor, and the rest of the process fewer than 40.
_MAX_CONNECTIONS = -(-MAX_REQUESTS // CALLS_PER_CONNECTION)
_OTHER_DESCRIPTORS = 40


def serve(settings: Settings, reporter: ReadinessReporter) -> int:
    """Mount, tell the reporter when the mount answers, serve until unmounted; the exit code.

    Raises:
        ConfigError: the mount could not begin; the message is one sentence for the user.
        MountLost: it was taken from this process.
    """
    if not malloc.tune():
        log.debug("the C library's allocator cannot be tuned")
    try:
        asyncio_bridge.run(functools.partial(_serve, settings, reporter))
    except BaseExceptionGroup as group:
        # Nurseries wrap what ends them; a sentence for the user counts more than what followed it.
        sentences, _ = group.split((ConfigError, MountLost))
        if sentences is None:
            raise
        raise _first_leaf(sentences) from None
    return 0


def _first_leaf(group: BaseExceptionGroup[GcsmuxError]) -> GcsmuxError:
    first = group.exceptions[0]
    return _first_leaf(first) if isinstance(first, BaseExceptionGroup) else first


async def _serve(settings: Settings, reporter: ReadinessReporter) -> None:
    channel_settings = ChannelSettings(
        settings.endpoint,
        plaintext=settings.plaintext,
        anonymous=settings.anonymous,
        key_file=settings.key_file,
        billing_project=settings.billing_project,
    )
    statistics: Callable[[], dict[str, object]] = dict
    patience = stream_policy(settings.read_timeout_seconds)
    silence_seconds = min(CONNECTION_SILENCE_SECONDS, patience.stall_seconds / 2)
    most_connections = _most_connections(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
    async with _channels(channel_settings) as channels:
        source = random.Random()
        # Names that fail by the thousand keep no stream from being opened again.
        stream_retries, call_retries = RetryBudget(), RetryBudget()
        new_store = functools.partial(
            GrpcObjectStore,
            channels.connections(most_connections, silence_seconds),
            channel_settings,
            settings.bucket,
            random=source,
            tokens=channels.tokens,
        )
        info = await check_bucket(new_store(policy=_STARTUP_POLICY), settings, reporter)
        store = new_store(
            policy=unary_policy(settings.read_timeout_seconds),
            hierarchical=info.hierarchical,
            retries=call_retries,
        )
        streams = GrpcBidiTransport(
            channels.connections(most_connections, silence_seconds),
            channel_settings,
            tokens=channels.tokens,
        )
        soon = DeferredCalls()
        transport = FallbackTransport(
            streams,
            GrpcRangeReads(streams, channel_settings),
            clock=trio.current_time,
            call_soon=soon,
        )
        async with trio.open_nursery() as rooms:
            pool = StreamRegistry(
                transport,
                patience,
                source,
                call_soon=soon,
                retries=stream_retries,
            )
            names = NamePruner()
            tree = Tree(
                store,
                rooms,
                prefix=settings.prefix,
                ttl_seconds=settings.metadata_ttl_seconds,
                negative_ttl_seconds=settings.negative_ttl_seconds,
                directory_mtime_ns=time.time_ns(),
                deadline_seconds=settings.read_timeout_seconds + _LAST_WORD_SECONDS,
                on_invalidated=names.drop,
                assume_directories=not info.listable,
            )
            reader = ReadContext(
                pool,
                budget_bytes=block_budget(settings.memory_bytes),
                read_ahead_bytes=settings.read_ahead_bytes,
                read_timeout=settings.read_timeout_seconds,
            )
            operations = BucketOperations(
                tree,
                reader,
                AttributeEncoder.of(settings),
                bucket=settings.bucket,
                call_soon=soon,
            )
            statistics = functools.partial(
                _statistics,
                store,
                streams,
                transport,
                pool,
                tree,
                reader,
                operations,
                (stream_retries, call_retries),
            )
            rooms.start_soon(soon.run)
            rooms.start_soon(operations.walks.run)
            rooms.start_soon(names.run)
            rooms.start_soon(pool.run)
            rooms.start_soon(watch_memory, settings.memory_bytes, streams.crossing.arrival)
            with closing(operations):
                await serve_kernel(
                    settings, operations, names, reporter, lambda: _log_statistics(statistics())
                )
            rooms.cancel_scope.cancel()
        transport.close()
        await streams.drain()
    # Only here has everything ended that could hold something.
    _log_statistics(statistics())


def _most_connections(descriptors: int) -> int:
    """Return how many connections to make for streams, and as many for other calls."""
    if descriptors == resource.RLIM_INFINITY:
        return _MAX_CONNECTIONS
    return max(1, min(_MAX_CONNECTIONS, (descriptors - _OTHER_DESCRIPTORS) // 2))


def unary_policy(read_timeout: float) -> UnaryPolicy:
    """Return times for calls that leave a second attempt after one that is not answered."""
    usual = UnaryPolicy()
    return UnaryPolicy(
        total_seconds=read_timeout,
        attempt_seconds=min(usual.attempt_seconds, read_timeout / 2),
        max_backoff_seconds=min(usual.max_backoff_seconds, _longest_backoff(read_timeout)),
    )


def stream_policy(read_timeout: float) -> RetryPolicy:
    """Return times for streams that leave a second one after one that falls silent.

    Where that can be, a stream that is not answered is waited for until it tells that there are
    none to be had.
    """
    usual = RetryPolicy()
    telling = STREAM_SILENCE_SECONDS + 1.0
    unanswered = read_timeout / 2 if read_timeout < telling else max(telling, read_timeout / 2)
    return RetryPolicy(
        max_backoff_seconds=min(usual.max_backoff_seconds, _longest_backoff(read_timeout)),
        give_up_seconds=read_timeout,
        open_seconds=min(usual.open_seconds, unanswered),
        stall_seconds=min(usual.stall_seconds, read_timeout / 4),
    )


def _longest_backoff(read_timeout: float) -> float:
    """Return for how long a service may be back before anybody who waits for it takes notice."""
    return max(0.5, read_timeout / 12)


@asynccontextmanager
async def _channels(
    settings: ChannelSettings,
) -> AsyncIterator[Channels]:
    channels = await open_channels(settings)
    try:
        yield channels
    finally:
        with trio.CancelScope(shield=True):
            await channels.close_all()


def _statistics(
    store: GrpcObjectStore,
    streams: GrpcBidiTransport,
    transport: FallbackTransport,
    pool: StreamRegistry,
    tree: Tree,
    reader: ReadContext,
    operations: BucketOperations,
    retries: tuple[RetryBudget, ...],
) -> dict[str, object]:
    """Return every gauge and counter of the mount in one flat dictionary."""
    tree_metrics = Registry()
    tree.declare_metrics(tree_metrics)
    shared = asdict(pool.statistics())
    counters = shared.pop("counters")
    return {
        **counters,
        **shared,
        **asdict(transport.statistics()),
        **asdict(reader.statistics()),
        **tree_metrics.snapshot(),
        "unary_requests": store.requests,
        "retries": sum(budget.taken for budget in retries),
        "tasks": streams.open_calls,
        "open_handles": operations.open_handles,
        "ill_formed_metadata": operations.ill_formed_metadata,
    }


def _log_statistics(statistics: dict[str, object]) -> None:
    log.info("statistics %s", json.dumps(statistics))
