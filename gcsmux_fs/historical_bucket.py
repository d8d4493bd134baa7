"""Creates the store of a mount that shows an earlier or a fixed state of its bucket."""

from __future__ import annotations

import logging
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

import trio

from gcsmux_fs.history.as_of_store import AsOfStore
from gcsmux_fs.history.freeze_files import (
    FreezeFileBusy,
    WriterLock,
    read_freeze_file,
    write_freeze_file,
)
from gcsmux_fs.history.freeze_format import BrokenFreezeFile, FreezeHeader, FrozenState
from gcsmux_fs.history.freeze_keeper import FreezeKeeper
from gcsmux_fs.history.frozen_names import FrozenNames
from gcsmux_fs.history.frozen_store import FrozenStore
from gcsmux_fs.history.history_findings import as_of_warning, check_frozen_state
from gcsmux_fs.model.errors import (
    ConfigError,
    InvalidRequest,
    PermissionDenied,
    PreconditionFailed,
    StorageError,
    TransientError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from gcsmux_fs.connected_bucket import ConnectedBucket
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.model.object_versions import BucketRetention
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings
    from gcsmux_fs.storage.object_store import GrpcObjectStore
    from gcsmux_fs.storage.ports import ObjectStore

__all__ = ["HistoricalBucket", "historical_bucket"]

log = logging.getLogger(__name__)

# How long the end of a mount waits for a slow disk.
_LAST_WRITE_SECONDS = 60.0
# How long a start waits for another mount that still writes the file of frozen names. `umount`
# returns before the last names are written, which takes seconds for a million names.
_BUSY_SECONDS = 20.0
_BUSY_PAUSE_SECONDS = 0.05


@dataclass(frozen=True, slots=True)
class HistoricalBucket:
    """The store that the names of a mount come from. `keeper` is None if they are not frozen."""

    store: ObjectStore
    keeper: FreezeKeeper | None = None


@asynccontextmanager
async def historical_bucket(
    settings: Settings,
    connected: ConnectedBucket,
    metrics: Registry,
    reporter: ReadinessReporter,
    tasks: trio.Nursery,
) -> AsyncIterator[HistoricalBucket]:
    """Yield the store that the settings ask for; write the frozen names at the end.

    Raises:
        TransientError: the service cannot be reached.
        ConfigError: the service or the file of frozen names cannot show this state.
    """
    if not settings.is_frozen:
        yield HistoricalBucket(connected.store)
        return
    metrics.section = "frozen names"
    header = FreezeHeader(settings.bucket, settings.prefix, settings.as_of_ns)
    lock = WriterLock()
    state = await _read_state(settings, header, lock)
    is_closed = state is not None and state.is_complete
    store: ObjectStore = connected.store
    if settings.as_of_ns is not None and not is_closed:
        as_of = await _as_of_store(settings, settings.as_of_ns, connected, reporter)
        as_of.declare_metrics(metrics)
        store = as_of
    names = FrozenNames() if state is None else state.names
    frozen = FrozenStore(store, names, is_closed=is_closed)
    frozen.declare_metrics(metrics)
    keeper = FreezeKeeper(
        names,
        header,
        settings.freeze_file,
        lock=lock,
        is_closed=is_closed,
        digest=None if state is None else state.digest,
    )
    if state is not None:
        log.info(
            "%s: %d names with the digest %s; %s",
            settings.freeze_file,
            names.objects,
            state.digest,
            "the mount shows only these"
            if is_closed
            else "its mount has not ended, so this mount adds names to it",
        )
    tasks.start_soon(keeper.run)
    try:
        yield HistoricalBucket(frozen, keeper)
    finally:
        with trio.move_on_after(_LAST_WRITE_SECONDS, shield=True):
            await keeper.close()
        lock.release()


async def _read_state(
    settings: Settings, header: FreezeHeader, lock: WriterLock
) -> FrozenState | None:
    """Return the content of the file of frozen names; None if there is none.

    A missing file is written, because a failure then shows at the start and not at the end.
    """
    path = settings.freeze_file
    if path is None:
        return None
    try:
        state = await _read_when_written(path, lock)
        if state is None:
            await trio.to_thread.run_sync(_write_empty, path, header, lock)
    except BrokenFreezeFile as error:
        raise ConfigError(
            f"--freeze-file {path} cannot be used: {error}: name another file, or remove it."
        ) from None
    except OSError as error:
        raise ConfigError(
            f"--freeze-file {path} cannot be used: {error.strerror or error}: name a file in an"
            " existing directory, which this user may read and write."
        ) from None
    if state is not None:
        check_frozen_state(path, state, header)
    return state


async def _read_when_written(path: Path, lock: WriterLock) -> FrozenState | None:
    """Read the file as soon as no other mount writes it."""
    deadline = trio.current_time() + _BUSY_SECONDS
    while True:
        try:
            return await trio.to_thread.run_sync(read_freeze_file, path, lock)
        except FreezeFileBusy:
            if trio.current_time() >= deadline:
                raise ConfigError(
                    f"--freeze-file {path} cannot be used, because another mount adds names to it:"
                    " unmount that one first, or name another file."
                ) from None
        await trio.sleep(_BUSY_PAUSE_SECONDS)


def _write_empty(path: Path, header: FreezeHeader, lock: WriterLock) -> None:
    write_freeze_file(
        path, header, FrozenNames(), written_ns=time.time_ns(), is_complete=False, lock=lock
    )


async def _as_of_store(
    settings: Settings, at_ns: int, connected: ConnectedBucket, reporter: ReadinessReporter
) -> AsOfStore:
    if at_ns > time.time_ns():
        raise ConfigError("--as-of is in the future: write a time that has passed.")
    if not connected.bucket.info.listable:
        raise ConfigError(
            "--as-of lists old generations, and these credentials may not list"
            f" {settings.source}: grant storage.objects.list."
        )
    try:
        retention = await _retention(connected.store)
        lists_soft_deleted = await _lists_soft_deleted(connected.store, settings.prefix)
    except StorageError as error:
        kind = TransientError if isinstance(error, Unavailable) else ConfigError
        raise kind(f"{settings.source} does not show its old generations: {error}.") from None
    warning = as_of_warning(settings.bucket, retention, lists_soft_deleted=lists_soft_deleted)
    if warning:
        log.warning("%s", warning)
        reporter.warn(warning)
    return AsOfStore(connected.store, at_ns, lists_soft_deleted=lists_soft_deleted)


async def _retention(store: GrpcObjectStore) -> BucketRetention | None:
    try:
        return await store.get_retention()
    except Unauthenticated:
        raise
    except (PermissionDenied, Unsupported):
        return None


async def _lists_soft_deleted(store: GrpcObjectStore, prefix: str) -> bool:
    """Return whether the service lists soft-deleted generations; not without a policy."""
    try:
        await store.list_versions(prefix, soft_deleted=True, page_size=1)
    except Unauthenticated:
        raise
    except (InvalidRequest, PermissionDenied, PreconditionFailed, Unsupported):
        return False
    return True
