"""One mount, from the call that makes it to the call that removes it.

The mount is announced as ready after another process has got an answer from the mount. Three causes
end a mount:

- A signal (see `mount_signals`). New requests are refused, and requests in progress are drained:
  they get `DRAIN_SECONDS` to end. The main loop runs meanwhile, because a program whose request
  stays unanswered hangs until the connection is closed.
- The kernel has unmounted. No program waits for an answer, so nothing is drained. After a lazy
  unmount (`umount -l`), the kernel keeps the connection until the last file is closed. A service
  of systemd does not wait for this longer than `DETACHED_SECONDS`, because the unit would be active
  without a mount.
- A failure. Nothing is drained, because the failure may prevent requests from ending.

The last steps are the same for each cause: the main loop and all requests are cancelled, the mount
is removed, and the file handles are closed.
"""

from __future__ import annotations

import logging
import os
import signal
from contextlib import closing, contextmanager, suppress
from typing import TYPE_CHECKING

import pyfuse3
import trio

from gcsmux_fs import __version__
from gcsmux_fs.fuse.main_loop import answer_requests
from gcsmux_fs.fuse.mount_signals import receive_signals
from gcsmux_fs.fuse.mountinfo import SUBTYPE, MountEntry, device_of, mount_table, top_mount
from gcsmux_fs.fuse.mountpoint import answers_async, mounting_place
from gcsmux_fs.fuse.name_pruning import UNDROPPABLE_NAME_SECONDS
from gcsmux_fs.fuse.negotiation import Negotiation, fuse_descriptors
from gcsmux_fs.fuse.operations import BucketOperations
from gcsmux_fs.fuse.replacement import unmount
from gcsmux_fs.fuse.wakeups import wakeups
from gcsmux_fs.model.errors import TransientError
from gcsmux_fs.process.standard_streams import has_terminal
from gcsmux_fs.settings.service_manager import is_service

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
    from pathlib import Path

    from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
    from gcsmux_fs.fuse.epoch_notifier import EpochNotifier
    from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.fuse.start_lock import Claim
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings

__all__ = ["DETACHED_SECONDS", "DRAIN_SECONDS", "serve_kernel"]

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.2
"""Maximum time in seconds that requests in progress may take to end after a signal. The time is
long enough for a round trip to the service. If the service does not answer, the mount ends this
much later, and the kernel returns an error to the waiting programs."""

DETACHED_SECONDS = 15.0
"""How long a service of systemd keeps running after a lazy unmount while programs have files open,
in seconds. systemd itself would kill the process after TimeoutStopSec= of the unit, 20 s."""

# Time between two looks of a service at the mount table. A look takes less than a millisecond.
_LOOK_SECONDS = 2.0


async def serve_kernel(
    settings: Settings,
    claim: Claim,
    filesystem: BucketFilesystem,
    names: NamePruner,
    read_ahead: KernelReadAhead,
    reporter: ReadinessReporter,
    report: Callable[[], None],
    reload: Callable[[], Awaitable[object]],
    *,
    on_mounted: Sequence[Callable[[tuple[int, int]], None]] = (),
    notifier: EpochNotifier | None = None,
) -> None:
    """Mount, and answer the kernel until the kernel has unmounted or a signal ends the mount.

    `claim` is the claim of the mount point; it is released when the mount is ready. `names` gets
    the mount's descriptor of /dev/fuse, and `read_ahead` the mount's device number. `report` is
    called for each SIGUSR1, and `reload` for each SIGHUP that does not come from a terminal.
    Each of `on_mounted` is called with the device number (major, minor) just before the mount is
    announced as ready. `notifier` limits how long the kernel may cache names; without it, there is
    no such limit. At return `filesystem` is closed.

    Raises:
        ConfigError: the mount failed, or does not answer.
        MountLost: the connection to the kernel was aborted.
    """
    with (
        closing(filesystem),
        receive_signals(with_terminal=settings.foreground and has_terminal()) as signals,
        _mounted(settings, claim, filesystem, names, read_ahead, notifier) as negotiation,
        wakeups(),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(negotiation.run)
            scope = nursery.cancel_scope
            nursery.start_soon(_end_on_signal, signals.ending, filesystem, reporter, scope)
            nursery.start_soon(_reload_on_signal, signals.reloading, reload, reporter)
            nursery.start_soon(_report_on_signal, report)
            nursery.start_soon(_announce, settings, claim, read_ahead, reporter, on_mounted)
            if is_service(os.environ):
                nursery.start_soon(_end_when_detached, settings, reporter, scope)
            await answer_requests(settings.mountpoint)
            scope.cancel()
    reporter.stopped()


@contextmanager
def _mounted(
    settings: Settings,
    claim: Claim,
    filesystem: BucketFilesystem,
    names: NamePruner,
    read_ahead: KernelReadAhead,
    notifier: EpochNotifier | None = None,
) -> Iterator[Negotiation]:
    operations = BucketOperations(filesystem)
    operations.choose_window = read_ahead.choose
    earlier_descriptors = fuse_descriptors()
    try:
        with mounting_place(claim) as place:
            pyfuse3.init(operations, str(place), _fuse_options(settings))
    except (OSError, RuntimeError) as error:
        raise TransientError(f"mounting on {settings.mountpoint} failed: {error}.") from None
    log.info("gcsmux-fs %s: mounted %s on %s", __version__, settings.source, settings.mountpoint)
    mounted = top_mount(mount_table(), os.fspath(settings.mountpoint))
    try:
        descriptor = next(iter(fuse_descriptors() - earlier_descriptors), None)
        names.attach(descriptor)
        # The kernel has no names yet, so this only finds out whether it can drop names.
        if not names.drop_all():
            operations.max_name_seconds = UNDROPPABLE_NAME_SECONDS
        if notifier is not None:
            notifier.attach(operations.limit_names)
        with Negotiation(descriptor) as negotiation:
            operations.on_init = negotiation.divert
            yield negotiation
    finally:
        # `names` must stop writing before the descriptor is closed, because another file may get
        # the number of the closed descriptor.
        names.attach(None)
        read_ahead.close()
        _unmount(settings.mountpoint, place, mounted)
        log.info("unmounted %s", settings.mountpoint)


def _unmount(mountpoint: Path, place: Path, mounted: MountEntry | None) -> None:
    """Remove the mount `mounted` at `mountpoint`, which libfuse has made at `place`, and close it.

    Another program may have just unmounted it. libfuse would then print an error, or remove another
    mount at this path, such as the autofs below.
    """
    top = top_mount(mount_table(), os.fspath(mountpoint))
    is_mounted = top is not None and mounted is not None and top.mount_id == mounted.mount_id
    if is_mounted and place == mountpoint:
        pyfuse3.close(unmount=True)
        return
    # libfuse knows only the private directory, where nothing is mounted now.
    if is_mounted:
        with suppress(OSError):
            unmount(mountpoint)
    pyfuse3.close(unmount=False)


def _fuse_options(settings: Settings) -> set[str]:
    options = {
        "ro",
        "default_permissions",
        f"fsname={settings.fsname}",
        f"subtype={SUBTYPE}",
    }
    if settings.allow_other:
        options.add("allow_other")
    return options | set(settings.fuse_options)


async def _announce(
    settings: Settings,
    claim: Claim,
    read_ahead: KernelReadAhead,
    reporter: ReadinessReporter,
    on_mounted: Sequence[Callable[[tuple[int, int]], None]],
) -> None:
    """Announce that the mount is ready, once the mount has answered another process."""
    if not await answers_async(settings.mountpoint):
        raise TransientError(
            f"{settings.mountpoint} was mounted but does not answer: try it again."
        )
    # The kernel sets the readahead when it processes FUSE_INIT, so change the value after that.
    device = device_of(settings.mountpoint)
    read_ahead.attach(device)
    for call in on_mounted:
        call(device)
    reporter.ready()
    claim.release()


async def _end_when_detached(
    settings: Settings, reporter: ReadinessReporter, scope: trio.CancelScope
) -> None:
    """Cancel `scope` some time after another program has lazily unmounted the mount."""
    device = os.makedev(*device_of(settings.mountpoint))
    missed_looks = 0
    # Two looks, because after an unmount without open files the main loop ends at once.
    while missed_looks < 2:
        await trio.sleep(_LOOK_SECONDS)
        # OSError: the process has no free descriptor now.
        with suppress(OSError):
            is_mounted = any(entry.device == device for entry in mount_table())
            missed_looks = 0 if is_mounted else missed_looks + 1
    log.info(
        "another program has lazily unmounted %s: waiting up to %g s for open files",
        settings.mountpoint,
        DETACHED_SECONDS,
    )
    reporter.stopping("lazily unmounted by another program, waiting for open files")
    await trio.sleep(DETACHED_SECONDS)
    scope.cancel()


async def _reload_on_signal(
    received: AsyncIterator[int],
    reload: Callable[[], Awaitable[object]],
    reporter: ReadinessReporter,
) -> None:
    async for number in received:
        log.info("%s: dropping all cached names", signal.Signals(number).name)
        reporter.reloading()
        try:
            await reload()
        except Exception:
            # For example, no further thread can be started. A mount does not end for this reason.
            log.exception("cached names may be left, because the reload failed")
        reporter.reloaded()


async def _end_on_signal(
    received: AsyncIterator[int],
    filesystem: BucketFilesystem,
    reporter: ReadinessReporter,
    scope: trio.CancelScope,
) -> None:
    async for number in received:
        log.info("%s: unmounting", signal.Signals(number).name)
        reporter.stopping()
        if not await filesystem.drain(DRAIN_SECONDS):
            log.info("cancelling requests that have not ended within %g s", DRAIN_SECONDS)
        scope.cancel()


async def _report_on_signal(report: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            report()
