"""Connects a mount to the service and checks its bucket; tries again while it is unreachable.

With --offline, a mount whose service cannot be reached starts with the facts that an earlier mount
has kept about the bucket.
"""

from __future__ import annotations

import functools
import logging
import os
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.connected_service import connect
from gcsmux_fs.fuse.main_loop import MAX_REQUESTS
from gcsmux_fs.kept_bucket import known_identity
from gcsmux_fs.model.errors import ConfigError, TransientError, is_permanent
from gcsmux_fs.storage.bucket_check import CheckedBucket, check_bucket
from gcsmux_fs.storage.channels import ChannelSettings
from gcsmux_fs.storage.direct_path import report_path
from gcsmux_fs.storage.unary_calls import UnaryPolicy
from gcsmux_fs.tracing.trace_settings import start_tracing

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from gcsmux_fs.caching.bucket_facts import BucketFacts
    from gcsmux_fs.connected_service import ConnectedService
    from gcsmux_fs.kept_bucket import KeptBucket
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.object_store import GrpcObjectStore
    from gcsmux_fs.tracing.tracer_provider import Tracing

__all__ = ["PROBE_POLICY", "ConnectedBucket", "connected_bucket"]

log = logging.getLogger(__name__)

PROBE_POLICY = UnaryPolicy(total_seconds=6.0, attempt_seconds=5.0, max_backoff_seconds=1.0)
"""Timeouts of the bucket check at the start, and of probes in an outage. A mistyped endpoint is
reported within 6 s."""

# Pauses between two attempts to reach the service at the start. The first is short, because a
# network or a token server that comes up with the machine is there within seconds.
_FIRST_PAUSE_SECONDS = 1.0
_MAX_PAUSE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ConnectedBucket:
    """The connected service, the bucket that was checked, with its unary calls, and the traces.

    `identity` tells whose credentials the calls use. `is_offline` is true if the bucket was not
    checked, because the service cannot be reached.
    """

    service: ConnectedService
    store: GrpcObjectStore
    bucket: CheckedBucket
    identity: str
    is_offline: bool
    tracing: Tracing | None


@asynccontextmanager
async def connected_bucket(
    settings: Settings, reporter: ReadinessReporter, metrics: Registry, kept: KeptBucket | None
) -> AsyncIterator[ConnectedBucket]:
    """Connect to the service and check the bucket; close all connections at the end.

    If the service cannot be reached, try again until the start timeout. Each attempt uses new
    connections and loads the credentials again, because gRPC and google-auth remember failures.

    Raises:
        TransientError: the service cannot be reached.
        ConfigError: the bucket cannot be read.
    """
    deadline = trio.current_time() + settings.start_timeout_seconds
    pause = _FIRST_PAUSE_SECONDS
    logged = ""
    facts: BucketFacts | None = None
    tried_offline = False
    while True:
        async with AsyncExitStack() as connections:
            try:
                bucket = await connections.enter_async_context(
                    _connect_once(settings, metrics, facts)
                )
            except ConfigError as error:
                if is_permanent(error):
                    raise
                if settings.offline and kept is not None and not tried_offline:
                    tried_offline = True
                    facts = await kept.read_facts()
                    if facts is not None:
                        log.warning("%s", error)
                        continue
                facts = None
                if trio.current_time() >= deadline:
                    raise
                if logged != str(error):
                    logged = str(error)
                    log.warning("waiting for %s: %s", settings.source, logged)
                reporter.waiting(str(error))
            else:
                if bucket.bucket.warning:
                    log.warning("%s", bucket.bucket.warning)
                    reporter.warn(bucket.bucket.warning)
                yield bucket
                return
        await trio.sleep(pause)
        pause = min(2 * pause, _MAX_PAUSE_SECONDS)


@asynccontextmanager
async def _connect_once(
    settings: Settings, metrics: Registry, facts: BucketFacts | None
) -> AsyncIterator[ConnectedBucket]:
    """Connect and check the bucket; with `facts`, do not ask the service."""
    async with connect(
        ChannelSettings.of(functools.partial(getattr, settings)),
        read_timeout_seconds=settings.read_timeout_seconds,
        max_calls=MAX_REQUESTS,
        needs_token=facts is None,
    ) as service:
        identity = service.identity
        if facts is None:
            # The calls of the check have limits of their own, and the metrics do not count them.
            bucket = await check_bucket(
                service.new_store(settings.bucket, policy=PROBE_POLICY, is_counted=False), settings
            )
        else:
            bucket, identity = _unchecked_bucket(settings, facts, identity)
        report_path(settings.direct_path)
        store = service.new_store(settings.bucket, hierarchical=bucket.info.hierarchical)
        metrics.section = "the service"
        store.declare_metrics(metrics)
        service.declare_metrics(metrics)
        with start_tracing(os.environ) as tracing:
            yield ConnectedBucket(service, store, bucket, identity, facts is not None, tracing)


def _unchecked_bucket(
    settings: Settings, facts: BucketFacts, identity: str
) -> tuple[CheckedBucket, str]:
    """Return the bucket as an earlier mount found it, and whose names may be shown."""
    known = known_identity(identity, facts)
    if known is None:
        raise TransientError(
            f"the service cannot be reached, and the names in --cache-dir were kept for other"
            f" credentials than those of {identity}: connect this machine, and mount again."
        )
    warning = (
        f"the service cannot be reached: {settings.source} shows what --cache-dir contains, until"
        " the service answers."
    )
    return CheckedBucket(facts.info, warning), known
