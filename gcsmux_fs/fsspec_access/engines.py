"""The engines of this process: at most one for each set of settings.

An engine starts when a file system makes its first request, and stops when the last file system
with the same settings has been collected, when the process forks, and when it ends.

Forks: after a fork, the child has no threads of its parent, and gRPC crashes or hangs in a child
whose parent had open channels (observed with grpcio 1.85). So all engines stop before a fork, also
in the parent. The next request starts a new engine, in the parent and in the child. Calls that were
in progress are repeated there. All of them only read, so a repetition is harmless.

Invariants:

1. No thread of an engine runs while the process forks.
2. A process that ends stops its engines first, so that no thread of gRPC runs while the interpreter
   is taken down.
"""

from __future__ import annotations

import asyncio
import atexit
import errno
import gc
import logging
import os
import threading
import weakref
from collections import deque
from typing import TYPE_CHECKING, TypeVar

from gcsmux_fs.fsspec_access.engine_stopped import EngineStopped
from gcsmux_fs.model.errors import ConfigError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.fsspec_access.access_settings import AccessSettings
    from gcsmux_fs.fsspec_access.engine import Engine
    from gcsmux_fs.fsspec_access.service_reader import ServiceReader

__all__ = ["EngineLease"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# How long a fork or the end of the process waits for the threads of an engine. The threads need
# about 0.1 s (cancelled calls of gRPC end within milliseconds).
_JOIN_SECONDS = 10.0
# How often a call is tried on a new engine. An engine stops only if the process forks, so a call
# that finds three stopped engines has another problem.
_TRIES = 3


class _Engines:
    """All engines of the process.

    The garbage collector may run `release` in any thread. So the lock is reentrant, and `release`
    never waits for the lock: the thread that holds it may wait for the thread that collects, for
    example for the start of an engine. Each thread that has released the lock calls `settle`, which
    does what `release` could not do.
    """

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.released: deque[AccessSettings] = deque()
        self.running: dict[AccessSettings, Engine] = {}
        self.stopping: list[Engine] = []
        self.leases: dict[AccessSettings, int] = {}
        self.lost: list[Engine] = []
        self.is_closed = False

    def acquire(self, settings: AccessSettings) -> None:
        with self.lock:
            self.leases[settings] = self.leases.get(settings, 0) + 1
        self.settle()

    def release(self, settings: AccessSettings) -> None:
        self.released.append(settings)
        self.settle()

    def settle(self) -> None:
        """Stop the engines whose leases have been released; never waits."""
        while self.released and self.lock.acquire(blocking=False):
            try:
                while self.released:
                    self._release(self.released.popleft())
            finally:
                self.lock.release()

    def _release(self, settings: AccessSettings) -> None:
        self.leases[settings] = self.leases.get(settings, 0) - 1
        if self.leases[settings] > 0:
            return
        del self.leases[settings]
        engine = self.running.pop(settings, None)
        if engine is not None:
            engine.stop_soon()
            self.stopping.append(engine)

    def engine(self, settings: AccessSettings) -> Engine:
        """Return the running engine for `settings`; start it if there is none."""
        engine = self.running.get(settings)
        if engine is not None and not engine.is_stopping:
            return engine
        try:
            return self._start(settings)
        finally:
            self.settle()

    def _start(self, settings: AccessSettings) -> Engine:
        with self.lock:
            # The import takes 0.3 s, because it loads gRPC. No fork can happen meanwhile, because
            # the lock is held, so no child finds the locks of the import taken.
            from gcsmux_fs.fsspec_access.engine import Engine

            engine = self.running.get(settings)
            if engine is not None and not engine.is_stopping:
                return engine
            if self.is_closed:
                raise RuntimeError("gcsmux:// cannot be read while the process ends")
            self.stopping = [each for each in self.stopping if each.is_alive]
            engine = Engine(settings)
            engine.start()
            self.running[settings] = engine
            return engine

    def reset_in_child(self) -> None:
        """Forget the engines of the parent after a fork, and keep the leases."""
        self.lock = threading.RLock()
        # An engine that did not stop in time is never collected, because a destructor of gRPC
        # might wait for a thread that does not exist in this process.
        self.lost += self.stopping
        self.stopping = []
        self.running = {}

    def stop_all(self) -> None:
        """Stop all engines, and wait until their threads have ended. The caller holds the lock."""
        engines = [*self.running.values(), *self.stopping]
        self.running.clear()
        for engine in engines:
            engine.stop_soon()
        self.stopping = [engine for engine in engines if not engine.join(_JOIN_SECONDS)]
        if engines:
            # gRPC ends its threads when its last channel is collected, and channels are part of
            # reference cycles.
            gc.collect()
        if self.stopping:
            log.warning(
                "%d threads of gcsmux:// did not end within %.0f s: no longer waiting",
                len(self.stopping),
                _JOIN_SECONDS,
            )


_engines = _Engines()


class EngineLease:
    """Keeps the engine for `settings` in use, and passes calls to it."""

    def __init__(self, settings: AccessSettings) -> None:
        self.settings = settings
        _engines.acquire(settings)
        finalizer = weakref.finalize(self, _engines.release, settings)
        finalizer.atexit = False

    def call(
        self,
        function: Callable[[ServiceReader], Awaitable[T]],
    ) -> T:
        """Run `function(reader)` in the engine, and wait for its result.

        Raises:
            PermissionError: there are no credentials, or they cannot be used.
        """
        for _ in range(_TRIES):
            try:
                return self._engine().call(function)
            except EngineStopped:
                continue
        raise OSError(errno.EIO, "the engine of gcsmux:// has stopped")

    async def call_async(
        self,
        function: Callable[[ServiceReader], Awaitable[T]],
    ) -> T:
        """Like `call`, but for a task of an asyncio event loop."""
        for _ in range(_TRIES):
            engine = _engines.running.get(self.settings)
            if engine is None or engine.is_stopping:
                # The start takes some tenths of a second, and must not block the event loop.
                engine = await asyncio.to_thread(self._engine)
            try:
                return await engine.call_async(function)
            except EngineStopped:
                continue
        raise OSError(errno.EIO, "the engine of gcsmux:// has stopped")

    def call_if_running(self, function: Callable[[ServiceReader], Awaitable[None]]) -> None:
        """Run `function(reader)` and wait for it; do nothing if no engine runs."""
        if self.settings in _engines.running:
            self.call(function)

    def call_soon(
        self,
        function: Callable[[ServiceReader], Awaitable[T]],
    ) -> None:
        """Run `function(reader)` without waiting, unless the engine has stopped.

        The garbage collector may call this method in any thread.
        """
        engine = _engines.running.get(self.settings)
        if engine is not None:
            engine.call_soon(function)

    def _engine(self) -> Engine:
        try:
            return _engines.engine(self.settings)
        except ConfigError as error:
            raise PermissionError(errno.EACCES, str(error)) from None


def _before_fork() -> None:
    _engines.lock.acquire()
    _engines.stop_all()


def _after_fork_in_parent() -> None:
    _engines.lock.release()
    _engines.settle()


def _at_exit() -> None:
    with _engines.lock:
        _engines.is_closed = True
        _engines.stop_all()


os.register_at_fork(
    before=_before_fork,
    after_in_parent=_after_fork_in_parent,
    after_in_child=_engines.reset_in_child,
)
atexit.register(_at_exit)
