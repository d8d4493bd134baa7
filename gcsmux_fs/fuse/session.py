"""The kernel's mount of what has been put together, from its making to its end.

It is made, announced once it has answered another process, served, and taken away: when the kernel
has unmounted it, on SIGTERM or on SIGINT.
"""

from __future__ import annotations

import logging
import signal
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pyfuse3
import trio

from gcsmux_fs import __version__
from gcsmux_fs.fuse.kernel_read_ahead import raise_read_ahead
from gcsmux_fs.fuse.main_loop import answer_requests
from gcsmux_fs.fuse.mountinfo import SUBTYPE, device_of
from gcsmux_fs.fuse.mountpoint import answers_async
from gcsmux_fs.fuse.negotiation import Negotiation, fuse_descriptors
from gcsmux_fs.fuse.wakeups import wakeups
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from gcsmux_fs.fuse.name_pruning import NamePruner
    from gcsmux_fs.fuse.operations import BucketOperations
    from gcsmux_fs.process.readiness import ReadinessReporter
    from gcsmux_fs.settings.settings import Settings

__all__ = ["serve_kernel"]

log = logging.getLogger(__name__)


async def serve_kernel(
    settings: Settings,
    operations: BucketOperations,
    names: NamePruner,
    reporter: ReadinessReporter,
    report: Callable[[], None],
) -> None:
    """Mount and answer the kernel until it has unmounted, or a signal says so.

    `names` are told the descriptor of the mount; `report` is called for each SIGUSR1.

    Raises:
        ConfigError: it cannot be mounted, or does not answer.
        MountLost: it was taken from this process.
    """
    with (
        _ending_signals(settings) as received,
        _mounted(settings, operations, names) as negotiation,
        wakeups(),
    ):
        async with trio.open_nursery() as nursery:
            nursery.start_soon(negotiation.run)
            nursery.start_soon(_watch_signals, received, nursery.cancel_scope, reporter)
            nursery.start_soon(_report_on_signal, report)
            nursery.start_soon(_announce, settings, reporter)
            await answer_requests(settings.mountpoint)
            nursery.cancel_scope.cancel()


@contextmanager
def _mounted(
    settings: Settings, operations: BucketOperations, names: NamePruner
) -> Iterator[Negotiation]:
    others = fuse_descriptors()
    try:
        pyfuse3.init(operations, str(settings.mountpoint), _fuse_options(settings))
    except RuntimeError as error:
        raise ConfigError(f"mounting on {settings.mountpoint} failed: {error}.") from None
    log.info("gcsmux-fs %s: mounted %s on %s", __version__, settings.source, settings.mountpoint)
    try:
        descriptor = next(iter(fuse_descriptors() - others), None)
        names.attach(descriptor)
        with Negotiation(descriptor) as negotiation:
            operations.on_init = negotiation.divert
            yield negotiation
    finally:
        # Its number may be another file's as soon as it is closed.
        names.attach(None)
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


async def _announce(settings: Settings, reporter: ReadinessReporter) -> None:
    """Say `ready` once another process has been answered by the mount."""
    if not await answers_async(settings.mountpoint):
        raise ConfigError(f"{settings.mountpoint} was mounted but does not answer: try it again.")
    if settings.kernel_read_ahead_bytes:
        # The kernel takes its own limit from FUSE's INIT, so that this has to come after it.
        device = device_of(settings.mountpoint)
        await trio.to_thread.run_sync(raise_read_ahead, device, settings.kernel_read_ahead_bytes)
    reporter.ready()


@contextmanager
def _ending_signals(settings: Settings) -> Iterator[AsyncIterator[int]]:
    """Receive the signals that end the mount, from before it is made until it is gone.

    A terminal that is closed sends SIGHUP; a detached mount has none and ignores it.
    """
    numbers = [signal.SIGTERM, signal.SIGINT]
    if settings.foreground:
        numbers.append(signal.SIGHUP)
    else:
        signal.signal(signal.SIGHUP, signal.SIG_IGN)
    with trio.open_signal_receiver(*numbers) as received:
        yield received


async def _watch_signals(
    received: AsyncIterator[int], scope: trio.CancelScope, reporter: ReadinessReporter
) -> None:
    async for number in received:
        log.info("%s: unmounting", signal.Signals(number).name)
        reporter.stopping()
        scope.cancel()


async def _report_on_signal(report: Callable[[], None]) -> None:
    with trio.open_signal_receiver(signal.SIGUSR1) as signals:
        async for _ in signals:
            report()
