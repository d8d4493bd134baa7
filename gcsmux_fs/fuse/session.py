"""One mount, from the call that makes it to the call that removes it.

The mount is announced as ready after another process has got an answer from the mount. Three causes
end a mount:

- A signal (SIGTERM, SIGINT, or SIGHUP in the foreground). New requests are refused, and requests in
  progress are drained: they get `DRAIN_SECONDS` to end. The main loop runs meanwhile, because a
  program whose request stays unanswered hangs until the connection is closed.
- The kernel has unmounted. No program waits for an answer, so nothing is drained.
- A failure. Nothing is drained, because the failure may prevent requests from ending.

The last steps are the same for each cause: the main loop and all requests are cancelled, the mount
is removed, and the file handles are closed.
"""

from __future__ import annotations

import logging
import signal
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pyfuse3
import trio

from gcsmux_fs import __version__
from gcsmux_fs.fuse.main_loop import answer_requests
from gcsmux_fs.fuse.mountinfo import SUBTYPE, device_of
from gcsmux_fs.fuse.mountpoint import answers_async
from gcsmux_fs.fuse.name_pruning import UNDROPPABLE_NAME_SECONDS
from gcsmux_fs.fuse.negotiation import Negotiation, fuse_descriptors
from gcsmux_fs.fuse.operations import BucketOperations
from gcsmux_fs.fuse.wakeups import wakeups
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
    from gcsmux_fs.fuse.kernel_read_ahead import KernelReadAhead
    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings

__all__ = ["DRAIN_SECONDS", "serve_kernel"]

log = logging.getLogger(__name__)

DRAIN_SECONDS = 0.2
"""Maximum time in seconds that requests in progress may take to end after a signal. The time is
long enough for a round trip to the service. If the service does not answer, the mount ends this
much later, and the kernel returns an error to the waiting programs."""


async def serve_kernel(
    settings: Settings,
    filesystem: BucketFilesystem,
    names: NamePruner,
    read_ahead: KernelReadAhead,
    reporter: ReadinessReporter,
    report: Callable[[], None],
    *,
    on_mounted: Callable[[tuple[int, int]], None] = lambda device: None,
) -> None:
    """Mount, and answer the kernel until the kernel has unmounted or a signal ends the mount.

    `names` gets the mount's descriptor of /dev/fuse, and `read_ahead` the mount's device number.
    `report` is called for each SIGUSR1, and `on_mounted` with the device number (major, minor) just
    before the mount is announced as ready. At return `filesystem` is closed.

    Raises:
        ConfigError: the mount failed, or does not answer.
        MountLost: the connection to the kernel was aborted.
    """
    with (
        closing(filesystem),
        _ending_signals(settings) as received,
        _mounted(settings, filesystem, names, read_ahead) as negotiation,
        wakeups(),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(negotiation.run)
            nursery.start_soon(_end_on_signal, received, filesystem, reporter, nursery.cancel_scope)
            nursery.start_soon(_report_on_signal, report)
            nursery.start_soon(_announce, settings, read_ahead, reporter, on_mounted)
            await answer_requests(settings.mountpoint)
            nursery.cancel_scope.cancel()


@contextmanager
def _mounted(
    settings: Settings,
    filesystem: BucketFilesystem,
    names: NamePruner,
    read_ahead: KernelReadAhead,
) -> Iterator[Negotiation]:
    operations = BucketOperations(filesystem)
    operations.choose_window = read_ahead.choose
    earlier_descriptors = fuse_descriptors()
    try:
        pyfuse3.init(operations, str(settings.mountpoint), _fuse_options(settings))
    except RuntimeError as error:
        raise ConfigError(f"mounting on {settings.mountpoint} failed: {error}.") from None
    log.info("gcsmux-fs %s: mounted %s on %s", __version__, settings.source, settings.mountpoint)
    try:
        descriptor = next(iter(fuse_descriptors() - earlier_descriptors), None)
        names.attach(descriptor)
        # The kernel has no names yet, so this only finds out whether it can drop names.
        if not names.drop_all():
            operations.max_name_seconds = UNDROPPABLE_NAME_SECONDS
        with Negotiation(descriptor) as negotiation:
            operations.on_init = negotiation.divert
            yield negotiation
    finally:
        # `names` must stop writing before the descriptor is closed, because another file may get
        # the number of the closed descriptor.
        names.attach(None)
        read_ahead.close()
        pyfuse3.close(unmount=True)
        log.info("unmounted %s", settings.mountpoint)


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
    read_ahead: KernelReadAhead,
    reporter: ReadinessReporter,
    on_mounted: Callable[[tuple[int, int]], None],
) -> None:
    """Announce that the mount is ready, once the mount has answered another process."""
    if not await answers_async(settings.mountpoint):
        raise ConfigError(f"{settings.mountpoint} was mounted but does not answer: try it again.")
    # The kernel sets the readahead when it processes FUSE_INIT, so change the value after that.
    device = device_of(settings.mountpoint)
    read_ahead.attach(device)
    on_mounted(device)
    reporter.ready()


@contextmanager
def _ending_signals(settings: Settings) -> Iterator[AsyncIterator[int]]:
    """Receive the signals that end the mount, from before the mount is made until it is removed.

    A terminal that is closed sends SIGHUP. A detached mount has no terminal, so it ignores SIGHUP.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if settings.foreground:
        numbers.append(signal.SIGHUP)
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with trio.open_signal_receiver(*numbers) as received:
        yield received


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
