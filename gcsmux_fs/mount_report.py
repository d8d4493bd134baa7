"""Collects what `gcsmux config show MOUNTPOINT` prints about a running mount."""

from __future__ import annotations

import os
import resource
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcsmux_fs import mount_adaptations
from gcsmux_fs.control.socket_places import runtime_directory
from gcsmux_fs.fuse.device import is_privileged
from gcsmux_fs.process import malloc
from gcsmux_fs.process.log_destinations import log_destination
from gcsmux_fs.process.logs import log_level
from gcsmux_fs.process.watchdog import watchdog_seconds
from gcsmux_fs.settings.adaptations import config_report
from gcsmux_fs.storage.direct_path import connected_paths
from gcsmux_fs.tracing.trace_settings import exporter_names

if TYPE_CHECKING:
    from gcsmux_fs.caching.disk_source import DiskSource
    from gcsmux_fs.connected_changes import ConnectedChanges
    from gcsmux_fs.connected_service import ConnectedService
    from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.model.values import BucketInfo
    from gcsmux_fs.namespace.service_outage import ServiceOutage
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.settings.setting import EffectiveSetting
    from gcsmux_fs.settings.settings import Settings

__all__ = ["mount_report"]

# The kernel's limit of background requests for a mount without CAP_SYS_ADMIN.
_USER_LIMIT = Path("/sys/module/fuse/parameters/max_user_bgreq")


def mount_report(
    settings: Settings,
    service: ConnectedService,
    info: BucketInfo,
    tree: Tree,
    names: NamePruner,
    read_ahead: KernelReadAhead,
    outage: ServiceOutage | None,
    disk: DiskSource | None,
    changes: ConnectedChanges | None,
    *,
    is_traced: bool,
) -> dict[str, Any]:
    """Return all settings and adaptations of a mount as JSON; never looks at the mount itself."""
    adaptations = (
        mount_adaptations.bucket_kind(info),
        mount_adaptations.credentials(
            service.identity,
            anonymous=settings.anonymous,
            named=bool(settings.key_file or settings.token_file or settings.token_command),
        ),
        mount_adaptations.network_path(
            settings.direct_path,
            len(connected_paths().direct) if settings.direct_path != "off" else 0,
        ),
        mount_adaptations.lookup_requests(listable=info.listable, objects_grow=tree.objects_grow),
        mount_adaptations.read_method(uses_read_object=service.uses_read_object),
        mount_adaptations.connection_limit(
            service.connection_limit,
            service.wanted_connections,
            resource.getrlimit(resource.RLIMIT_NOFILE)[0],
        ),
        mount_adaptations.stream_timeouts(service.stream_policy, settings.read_timeout_seconds),
        mount_adaptations.block_memory(
            settings.memory_bytes, 0 if disk is None else disk.queue_bytes
        ),
        mount_adaptations.disk_cache(settings.cache, "" if disk is None else disk.problem),
        mount_adaptations.kernel_window(settings.kernel_read_ahead_bytes, read_ahead.refusal),
        mount_adaptations.background_reads(is_privileged=is_privileged(), user_limit=_user_limit()),
        mount_adaptations.dropped_names(
            single=names.can_drop_single_names, every=names.can_drop_all
        ),
        mount_adaptations.kept_names(
            kept=settings.cache_listings,
            may_be_old=outage is not None,
            is_offline=outage is not None and outage.is_on,
        ),
        mount_adaptations.changes_of_bucket(*_changes(changes)),
        mount_adaptations.log_destination(
            log_destination(settings, detached=not settings.foreground), settings.log_to
        ),
        mount_adaptations.control_directory(
            runtime_directory(os.environ, os.geteuid()), os.environ, user=os.geteuid()
        ),
        mount_adaptations.watchdog(watchdog_seconds(os.environ, os.getpid())),
        mount_adaptations.library_variables(os.environ),
        mount_adaptations.tracing(exporter_names(os.environ), on=is_traced),
        mount_adaptations.allocator(tunable=malloc.is_tunable()),
    )
    return config_report(_current(settings), adaptations)


def _current(settings: Settings) -> list[EffectiveSetting]:
    """Return the settings with the log level of now, which `gcsmux log-level` changes."""
    level = log_level()
    return [
        replace(each, value=level, reason="`gcsmux log-level` has changed it")
        if each.setting.field == "log_level" and each.value != level
        else each
        for each in settings.effective
    ]


def _changes(changes: ConnectedChanges | None) -> tuple[str, str, str, float]:
    if changes is None:
        return "", "", "", 0.0
    freshness = changes.freshness
    seconds = changes.notifier.name_seconds
    return changes.subscription, freshness.state.value, freshness.why, seconds


def _user_limit() -> int | None:
    try:
        return int(_USER_LIMIT.read_text())
    except (OSError, ValueError):
        return None
