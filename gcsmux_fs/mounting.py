"""Runs a mount from its start to its end, and creates and connects all parts of the mount.

The parts start in the order from the network to the kernel: connections, bucket check, streams,
names, files, the kernel's mount. The parts end in the reverse order.
"""

from __future__ import annotations

import functools
import json
import logging
import math
import os
import time
from contextlib import AsyncExitStack, asynccontextmanager, closing
from typing import TYPE_CHECKING, Protocol

import trio

from gcsmux_fs import connected_changes
from gcsmux_fs.caching.disk_source import METRICS_SECTION
from gcsmux_fs.connected_bucket import PROBE_POLICY, connected_bucket
from gcsmux_fs.connected_changes import ConnectedChanges
from gcsmux_fs.connected_service import LOOKUP_EXTRA_SECONDS
from gcsmux_fs.exporters.health_reporter import HealthReporter
from gcsmux_fs.exporters.mount_exporters import serving_metrics
from gcsmux_fs.exporters.mount_health import (
    PROBE_SECONDS,
    SILENCE_SECONDS,
    MountHealth,
    MountPhase,
)
from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.controlled_filesystem import ControlledFilesystem
from gcsmux_fs.filesystem.file_attributes import AttributePolicy
from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
from gcsmux_fs.fuse.mountpoint import answers
from gcsmux_fs.fuse.name_dropping import NameDropper
from gcsmux_fs.fuse.name_pruning import NamePruner
from gcsmux_fs.fuse.session import serve_kernel
from gcsmux_fs.historical_bucket import historical_bucket
from gcsmux_fs.kept_bucket import KeptBucket
from gcsmux_fs.metrics.readable import readable_lines
from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.model.errors import ConfigError, MountLost
from gcsmux_fs.mount_control import ControlActions, MountControl
from gcsmux_fs.mount_report import mount_report
from gcsmux_fs.namespace.service_outage import ServiceOutage
from gcsmux_fs.namespace.tree import Tree
from gcsmux_fs.process import malloc
from gcsmux_fs.process.heartbeats import Heartbeats
from gcsmux_fs.process.log_storms import UNLIMITED
from gcsmux_fs.process.memory_watch import watch_memory
from gcsmux_fs.process.process_metrics import declare_process_metrics
from gcsmux_fs.process.sd_notify import notify
from gcsmux_fs.process.watchdog import feed_watchdog, watchdog_seconds
from gcsmux_fs.storage import asyncio_bridge

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.caching.disk_names import DiskNames
    from gcsmux_fs.connected_bucket import ConnectedBucket
    from gcsmux_fs.fuse.start_lock import Claim
    from gcsmux_fs.historical_bucket import HistoricalBucket
    from gcsmux_fs.model.errors import GcsmuxError
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["serve"]

log = logging.getLogger(__name__)


class _Measured(Protocol):
    def declare_metrics(self, registry: Registry) -> None: ...


def serve(settings: Settings, claim: Claim, reporter: ReadinessReporter) -> int:
    """Mount the bucket and serve it until it is unmounted. Return the exit code.

    `claim` is the claim of the mount point. `reporter` reports that the mount is ready when the
    mount answers.

    Raises:
        TransientError: the mount could not start within the start timeout; a later start may
            succeed. The message is one sentence for the user.
        ConfigError: the mount could not start; the message is one sentence for the user.
        MountLost: the connection to the kernel was aborted.
    """
    if not malloc.tune():
        log.debug("the C library does not support tuning of its allocator")
    try:
        asyncio_bridge.run(functools.partial(_serve, settings, claim, reporter))
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


async def _serve(settings: Settings, claim: Claim, reporter: ReadinessReporter) -> None:
    metrics, heartbeats = Registry(on_failure=_log_broken_metric), Heartbeats()
    health = MountHealth(
        heartbeats,
        functools.partial(answers, settings.mountpoint, timeout_seconds=PROBE_SECONDS),
    )
    reporter = HealthReporter(reporter, health)
    metrics.section = "the process"
    declare_process_metrics(metrics, heartbeats)
    async with AsyncExitStack() as mount:
        await mount.enter_async_context(_beating(heartbeats))
        mount.enter_context(serving_metrics(settings, metrics, health))
        kept = KeptBucket.of(settings)
        connected = await mount.enter_async_context(
            connected_bucket(settings, reporter, metrics, kept)
        )
        health.outage_seconds = functools.partial(
            connected.service.outcomes.outage_seconds, SILENCE_SECONDS
        )
        async with trio.open_nursery() as tasks:
            async with (
                _kept_names(kept, connected, metrics, tasks) as keeper,
                historical_bucket(settings, connected, metrics, reporter, tasks) as history,
            ):
                await _serve_bucket(
                    settings,
                    claim,
                    reporter,
                    connected,
                    history,
                    keeper,
                    metrics,
                    heartbeats,
                    tasks,
                )
            health.phase = MountPhase.STOPPING
            tasks.cancel_scope.cancel()
        await connected.service.close()
    # All parts of the mount have ended, so gauges such as `streams_open` are zero.
    _log_statistics(metrics)


@asynccontextmanager
async def _beating(heartbeats: Heartbeats) -> AsyncIterator[None]:
    """Record the heartbeats of both event loops, and feed the watchdog of systemd, if any."""

    async def beat_in_asyncio() -> None:
        await asyncio_bridge.await_asyncio(heartbeats.beat_in_asyncio())

    async with trio.open_nursery() as tasks:
        tasks.start_soon(heartbeats.beat_in_trio)
        tasks.start_soon(beat_in_asyncio)
        if seconds := watchdog_seconds(os.environ, os.getpid()):
            tasks.start_soon(feed_watchdog, seconds, heartbeats, _notify_watchdog)
        yield
        tasks.cancel_scope.cancel()


def _notify_watchdog() -> None:
    # This runs several times a minute in the loop that serves the kernel, so it never waits.
    notify("WATCHDOG=1", wait_seconds=0)


async def _serve_bucket(
    settings: Settings,
    claim: Claim,
    reporter: ReadinessReporter,
    connected: ConnectedBucket,
    history: HistoricalBucket,
    keeper: DiskNames | None,
    metrics: Registry,
    heartbeats: Heartbeats,
    tasks: trio.Nursery,
) -> None:
    """Create all parts between service and kernel, mount, and serve until the mount ends."""
    service = connected.service
    tracing = connected.tracing
    streams = service.new_streams(tracing.transport) if tracing else service.new_streams()
    names = NamePruner()
    outage = _new_outage(settings, connected)
    if outage is not None:
        tasks.start_soon(outage.run)
    changes = ConnectedChanges.of(settings, names, hierarchical=connected.bucket.info.hierarchical)
    tree = _new_tree(settings, connected, history.store, names, keeper, outage, changes, tasks)
    disk = service.new_disk_source(settings.cache, memory_bytes=settings.memory_bytes)
    context = service.new_read_context(
        tracing.source(streams) if tracing else streams,
        memory_bytes=settings.memory_bytes,
        read_ahead_bytes=settings.read_ahead_bytes,
        disk=disk,
    )
    if changes is not None:
        changes.connect(tree, context)
    kind = ControlledFilesystem if settings.control_directory else BucketFilesystem
    new_filesystem = tracing.filesystem(kind) if tracing else kind
    filesystem = new_filesystem(
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
        **({} if disk is None else {METRICS_SECTION: disk}),
        **({} if changes is None else {connected_changes.METRICS_SECTION: changes}),
        "the file system": filesystem,
        "the kernel": read_ahead,
    }
    for section, room in rooms.items():
        metrics.section = section
        room.declare_metrics(metrics)
    for run in (service.deferred_calls.run, filesystem.run, names.run, streams.run):
        tasks.start_soon(run)
    if changes is not None:
        tasks.start_soon(changes.run)
    tasks.start_soon(watch_memory, settings.memory_bytes, asyncio_bridge.current().arrival)
    report = functools.partial(_report_metrics, metrics)
    dropper = NameDropper(tree, names, settings.mountpoint)
    config = functools.partial(
        mount_report,
        settings,
        service,
        connected.bucket.info,
        tree,
        names,
        read_ahead,
        outage,
        disk,
        changes,
        is_traced=tracing is not None,
    )
    freeze = history.keeper
    actions = ControlActions(tree, context, dropper, settings.bucket, freeze)
    frozen = None if freeze is None else freeze.facts
    control = MountControl(settings, metrics, tasks, heartbeats, streams, actions, config, frozen)
    if isinstance(filesystem, ControlledFilesystem):
        control.show_in(filesystem)
    async with AsyncExitStack() as parts:
        if disk is not None:
            await parts.enter_async_context(disk.in_use(tasks))
            if disk.problem:
                reporter.warn(f"the mount has no cache on disk: {disk.problem}")
        parts.enter_context(closing(control))
        await serve_kernel(
            settings,
            claim,
            filesystem,
            names,
            read_ahead,
            reporter,
            report,
            actions.reload,
            on_mounted=[control.start] if changes is None else [control.start, changes.on_mounted],
            notifier=None if changes is None else changes.notifier,
        )


@asynccontextmanager
async def _kept_names(
    kept: KeptBucket | None, connected: ConnectedBucket, metrics: Registry, tasks: trio.Nursery
) -> AsyncIterator[DiskNames | None]:
    """Yield what keeps names on disk, if the user wants it; write the last names at the end."""
    if kept is None:
        yield None
        return
    keeper = kept.names(connected.bucket.info, connected.identity)
    metrics.section = "kept names"
    keeper.declare_metrics(metrics)
    if not connected.is_offline:
        tasks.start_soon(kept.write_facts, connected.bucket.info, connected.identity)
    tasks.start_soon(keeper.run)
    try:
        yield keeper
    finally:
        await keeper.close()


def _new_outage(settings: Settings, connected: ConnectedBucket) -> ServiceOutage | None:
    """Return what decides when old names are used; None without --offline."""
    if not settings.offline:
        return None
    probes = connected.service.new_store(settings.bucket, policy=PROBE_POLICY, is_counted=False)
    return ServiceOutage(
        connected.service.outcomes.signs,
        functools.partial(probes.list_objects, settings.prefix, page_size=1),
        is_on=connected.is_offline,
    )


def _new_tree(
    settings: Settings,
    connected: ConnectedBucket,
    store: ObjectStore,
    names: NamePruner,
    keeper: DiskNames | None,
    outage: ServiceOutage | None,
    changes: ConnectedChanges | None,
    tasks: trio.Nursery,
) -> Tree:
    frozen = settings.is_frozen
    return Tree(
        store,
        tasks,
        prefix=settings.prefix,
        ttl_seconds=math.inf if frozen else settings.metadata_ttl_seconds,
        negative_ttl_seconds=math.inf if frozen else settings.negative_ttl_seconds,
        directory_mtime_ns=time.time_ns(),
        deadline_seconds=settings.read_timeout_seconds + LOOKUP_EXTRA_SECONDS,
        on_invalidated=names.drop if changes is None else changes.on_invalidated,
        on_found_gone=(lambda _: None) if changes is None else changes.on_found_gone,
        assume_directories=not connected.bucket.info.listable,
        keeper=keeper,
        outage=outage,
        news=None if changes is None else changes.freshness,
        hierarchical=connected.bucket.info.hierarchical,
    )


def _log_broken_metric(name: str, error: Exception) -> None:
    log.error("the metric %s cannot be read, please report it as a bug: %r", name, error)


def _report_metrics(metrics: Registry) -> None:
    """Log all metrics: lines for people, then one line for programs."""
    for line in readable_lines(metrics.metrics()):
        log.info("%s", line, extra=UNLIMITED)
    _log_statistics(metrics)


def _log_statistics(metrics: Registry) -> None:
    """Log all metrics as JSON, in one line."""
    log.info("statistics %s", json.dumps(metrics.snapshot()), extra=UNLIMITED)
