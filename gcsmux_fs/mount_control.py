"""Connects the control socket of a mount with the parts of the mount."""

from __future__ import annotations

import logging
import os
import time
from typing import TYPE_CHECKING

from gcsmux_fs.control.control_server import ControlServer
from gcsmux_fs.control.loop_calls import LoopCalls
from gcsmux_fs.control.mount_commands import MountCommands, MountFacts
from gcsmux_fs.control.socket_places import runtime_directory, socket_name
from gcsmux_fs.filesystem.warming import WarmUp
from gcsmux_fs.fuse.name_dropping import KernelNames
from gcsmux_fs.namespace.tree import NoSuchEntry
from gcsmux_fs.process.heartbeats import TRIO_LOOP
from gcsmux_fs.process.log_destinations import reopen_log_file

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import trio

    from gcsmux_fs.control.protocol import Json
    from gcsmux_fs.filesystem.controlled_filesystem import ControlledFilesystem
    from gcsmux_fs.fuse.name_dropping import NameDropper
    from gcsmux_fs.history.freeze_keeper import FreezeKeeper
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.mux.stream_registry import StreamRegistry
    from gcsmux_fs.namespace.tree import Tree
    from gcsmux_fs.process.heartbeats import Heartbeats
    from gcsmux_fs.reading.read_context import ReadContext
    from gcsmux_fs.settings.settings import Settings

__all__ = ["ControlActions", "MountControl"]

log = logging.getLogger(__name__)

_KERNEL_NAMES = {
    KernelNames.ALL: "the next use of each name asks the service",
    KernelNames.PRESENT: "names that were absent stay absent for up to --negative-ttl, because this"
    " kernel cannot drop them, or because a file system is mounted on a directory of this mount",
    KernelNames.NONE: "this kernel (older than Linux 6.16) keeps its own names for up to a minute,"
    " and drops them at once if root runs `sysctl vm.drop_caches=2`",
}

_FROZEN = (
    "the log file was opened again; the names are frozen, so they stay, and are written to the file"
    " of --freeze-file, if there is one."
)


class ControlActions:
    """What the control socket makes a mount do."""

    def __init__(
        self,
        tree: Tree,
        context: ReadContext,
        names: NameDropper,
        bucket: str,
        freeze: FreezeKeeper | None = None,
    ) -> None:
        self._tree = tree
        self._context = context
        self._names = names
        self._bucket = bucket
        self._freeze = freeze

    async def reload(self) -> str:
        """Open the log file again and drop all cached names; SIGHUP calls this too.

        Frozen names are not dropped, because they never change. They are written to their file.
        """
        reopen_log_file()
        if self._freeze is not None:
            self._freeze.write_soon()
            log.info("%s", _FROZEN)
            return _FROZEN
        message = f"all cached names were dropped: {_KERNEL_NAMES[await self._names.drop()]}."
        log.info("%s", message)
        return message

    async def forget(self, paths: Sequence[str]) -> Json:
        """Drop the cached names and bytes of paths in the mount."""
        names: list[str] = []
        failures: list[str] = []
        for path in paths:
            try:
                names += self._tree.names_of_path(path)
            except NoSuchEntry as error:
                failures.append(f"{path}: {error.message}")
        dropped = await self._names.drop(names)
        objects = {name for name in names if name and not name.endswith("/")}
        folders = tuple(name for name in names if name not in objects)
        return {
            "bytes": self._context.forget(lambda name: name in objects or name.startswith(folders)),
            "kernel": dropped.value,
            "message": f"{_KERNEL_NAMES[dropped]}.",
            "failures": failures,
        }

    def warm(self) -> WarmUp:
        """Return a new warm-up of the cache."""
        return WarmUp(self._tree, self._context, self._bucket)


class MountControl:
    """The control socket of one mount, from `start` to `close`. `tasks` runs its commands."""

    def __init__(
        self,
        settings: Settings,
        metrics: Registry,
        tasks: trio.Nursery,
        heartbeats: Heartbeats,
        streams: StreamRegistry,
        actions: ControlActions,
        config: Callable[[], Json],
        frozen: Callable[[], Json] | None = None,
    ) -> None:
        started = time.time_ns()
        commands = MountCommands(
            MountFacts(settings.source, str(settings.mountpoint), started / 1e9, time.monotonic()),
            metrics,
            LoopCalls(tasks, lambda: heartbeats.ages_seconds()[TRIO_LOOP]),
            heartbeats,
            streams=streams.snapshot,
            config=config,
            actions=actions,
            frozen=frozen,
        )
        self._server = ControlServer(commands.table())
        self._commands = commands
        self._started_ns = started

    def show_in(self, filesystem: ControlledFilesystem) -> None:
        """Set the files of the control directory of a file system."""
        filesystem.show(self._commands.texts(), self._started_ns)

    def start(self, device: tuple[int, int]) -> None:
        """Make the socket of the mount with this device number (major, minor)."""
        directory = runtime_directory(os.environ, os.geteuid())
        self._server.start(directory, socket_name(device))

    def close(self) -> None:
        """Remove the socket."""
        self._server.close()
