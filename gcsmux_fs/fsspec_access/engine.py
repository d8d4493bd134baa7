"""One engine: a thread that runs trio, and answers the requests of all other threads.

Theory of operation: the engine's thread runs the same parts as a mount (`connected_service`), with
gRPC in a second thread (`storage.asyncio_bridge`). A thread that needs an answer passes a function
of the `ServiceReader`. The engine runs the function as a trio task, and hands the result to the
thread, or to the asyncio event loop, that waits for the result.

Invariants:

1. Every call that was accepted gets exactly one result. If the engine stops before, the result is
   the error `EngineStopped`, and the caller may repeat the call on another engine.
2. A waiting thread or task that is interrupted cancels its call.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import copy
import logging
import threading
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import outcome
import trio

from gcsmux_fs.connected_service import connect
from gcsmux_fs.fsspec_access.engine_stopped import EngineStopped
from gcsmux_fs.fsspec_access.service_reader import ServiceReader
from gcsmux_fs.model.errors import StorageError
from gcsmux_fs.storage import asyncio_bridge
from gcsmux_fs.storage.channels import ChannelSettings

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from gcsmux_fs.fsspec_access.access_settings import AccessSettings

__all__ = ["Engine"]

log = logging.getLogger(__name__)

T = TypeVar("T")

# Maximum number of calls of each kind (streams, unary calls) at the same time, as for a mount.
_MAX_CALLS = 2048


class Engine:
    """The engine for `settings`. `start` starts its threads.

    After `stop_soon` the engine accepts no more calls. The threads end by themselves; `join` waits
    for them.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings
        self._ready: concurrent.futures.Future[None] = concurrent.futures.Future()
        self._token: trio.lowlevel.TrioToken | None = None
        self._calls: trio.Nursery | None = None
        self._stopping = False
        self._stop = trio.Event()
        self.reader: ServiceReader | None = None
        self._thread = threading.Thread(target=self._run, name="gcsmux", daemon=True)

    @property
    def is_stopping(self) -> bool:
        """Whether the engine accepts no more calls."""
        return self._stopping

    @property
    def is_alive(self) -> bool:
        """Whether the threads of the engine have not ended."""
        return self._thread.is_alive()

    def start(self) -> None:
        """Start the threads, and wait until the engine accepts calls.

        Raises:
            ConfigError: there are no credentials, or the key file cannot be used.
        """
        self._thread.start()
        self._ready.result()

    def stop_soon(self) -> None:
        """Let the engine stop. Never waits, so the garbage collector may call this method."""
        self._stopping = True
        if self._token is not None:
            with contextlib.suppress(trio.RunFinishedError):
                self._token.run_sync_soon(self._stop.set)

    def join(self, seconds: float) -> bool:
        """Wait until the threads have ended; return False if they do not end within `seconds`."""
        self._thread.join(seconds)
        return not self._thread.is_alive()

    # -- calls of other threads

    def call(
        self,
        function: Callable[[ServiceReader], Awaitable[T]],
    ) -> T:
        """Run `function(reader)` in the engine, and wait for its result.

        Raises:
            EngineStopped: the engine has stopped before the function ended.
        """
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        call = _Call(self, function, _fulfil(future))
        self._submit(call.begin)
        try:
            return future.result()
        except BaseException:
            # For example a KeyboardInterrupt while this thread waits.
            if not future.done():
                self._submit_if_running(call.cancel)
            raise

    async def call_async(
        self,
        function: Callable[[ServiceReader], Awaitable[T]],
    ) -> T:
        """Like `call`, but for a task of an asyncio event loop."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def deliver(result: outcome.Outcome[T]) -> None:
            try:
                loop.call_soon_threadsafe(_settle, future, result)
            except RuntimeError:
                log.debug("an event loop was closed while it waited for an answer")

        call = _Call(self, function, deliver)
        self._submit(call.begin)
        try:
            return await future
        except asyncio.CancelledError:
            self._submit_if_running(call.cancel)
            raise

    def call_soon(self, function: Callable[[ServiceReader], Awaitable[T]]) -> None:
        """Run `function(reader)` without waiting; do nothing if the engine has stopped."""
        call = _Call(self, function, lambda _: None)
        self._submit_if_running(call.begin)

    def _submit(self, begin: Callable[[], None]) -> None:
        if self._token is None or self._stopping:
            raise EngineStopped
        try:
            self._token.run_sync_soon(begin)
        except trio.RunFinishedError:
            raise EngineStopped from None

    def _submit_if_running(self, begin: Callable[[], None]) -> None:
        with contextlib.suppress(EngineStopped):
            self._submit(begin)

    # -- the engine's thread

    def _run(self) -> None:
        try:
            asyncio_bridge.run(self._serve)
        except BaseException as error:
            self._stopping = True
            if self._ready.done():
                log.exception("the engine of gcsmux:// has failed: the next request starts another")
            else:
                self._ready.set_exception(_first_leaf(error))
        finally:
            self._calls = self.reader = None

    async def _serve(self) -> None:
        settings = self._settings
        channel_settings = ChannelSettings(
            settings.endpoint,
            plaintext=settings.plaintext,
            anonymous=settings.anonymous,
            key_file=settings.key_file,
            token_file=settings.token_file,
            token_command=settings.token_command,
            impersonate=settings.impersonate,
            ca_file=settings.ca_file,
            billing_project=settings.billing_project,
        )
        async with connect(
            channel_settings,
            read_timeout_seconds=settings.read_timeout_seconds,
            max_calls=_MAX_CALLS,
        ) as service:
            streams = service.new_streams()
            disk = service.new_disk_source(settings.cache, memory_bytes=settings.memory_bytes)
            context = service.new_read_context(
                streams,
                memory_bytes=settings.memory_bytes,
                read_ahead_bytes=settings.read_ahead_bytes,
                disk=disk,
            )
            async with trio.open_nursery() as tasks:
                for run in (service.deferred_calls.run, streams.run):
                    tasks.start_soon(run)
                self.reader = ServiceReader(service, context, settings, tasks)
                async with contextlib.nullcontext() if disk is None else disk.in_use(tasks):
                    await self._answer_calls()
                self.reader.close_all()
                tasks.cancel_scope.cancel()
            await service.close()

    async def _answer_calls(self) -> None:
        async with trio.open_nursery() as calls:
            self._calls = calls
            self._token = trio.lowlevel.current_trio_token()
            self._ready.set_result(None)
            await self._stop.wait()
            self._stopping = True
            calls.cancel_scope.cancel()

    def start_task(self, task: Callable[[], Awaitable[None]]) -> bool:
        """Start a trio task; return False if the engine stops. Runs in the engine's thread."""
        if self._calls is None or self._stopping:
            return False
        self._calls.start_soon(task)
        return True


class _Call(Generic[T]):
    """One call, from its start in the engine's thread to its result."""

    __slots__ = ("_deliver", "_engine", "_function", "_scope")

    def __init__(
        self,
        engine: Engine,
        function: Callable[[ServiceReader], Awaitable[T]],
        deliver: Callable[[outcome.Outcome[T]], None],
    ) -> None:
        self._engine = engine
        self._function = function
        self._deliver = deliver
        self._scope = trio.CancelScope()

    def begin(self) -> None:
        if not self._engine.start_task(self._run):
            self._deliver(outcome.Error(EngineStopped()))

    def cancel(self) -> None:
        self._scope.cancel()

    async def _run(self) -> None:
        result: outcome.Outcome[T] = outcome.Error(EngineStopped())
        try:
            with self._scope:
                assert self._engine.reader is not None
                result = outcome.Value(await self._function(self._engine.reader))
        except StorageError as error:
            # A copy, because the traceback refers to objects of gRPC, and the caller may keep it.
            result = outcome.Error(copy.copy(error))
        except Exception as error:  # raised again by the caller
            result = outcome.Error(error)
        finally:
            self._deliver(result)


def _fulfil(future: concurrent.futures.Future[T]) -> Callable[[outcome.Outcome[T]], None]:
    def deliver(result: outcome.Outcome[T]) -> None:
        if isinstance(result, outcome.Error):
            future.set_exception(result.error)
        else:
            future.set_result(result.unwrap())

    return deliver


def _settle(future: asyncio.Future[Any], result: outcome.Outcome[Any]) -> None:
    if future.done():
        return
    if isinstance(result, outcome.Error):
        future.set_exception(result.error)
    else:
        future.set_result(result.unwrap())


def _first_leaf(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
