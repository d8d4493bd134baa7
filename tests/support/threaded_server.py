"""A gRPC server for tests, in its own thread and event loop."""

from __future__ import annotations

import asyncio
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import grpc
import grpc.aio

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

__all__ = ["threaded_server"]


@contextmanager
def threaded_server(
    service: str, handlers: Mapping[str, grpc.RpcMethodHandler[bytes, bytes]], *, port: int = 0
) -> Iterator[int]:
    """Serve `service` until the `with` block ends; yield the port.

    The handlers are `async` functions. They run in the event loop of the server.
    """
    ready = threading.Event()
    stop: list[Callable[[], object]] = []
    ports: list[int] = []

    async def serve() -> None:
        server = grpc.aio.server(options=[("grpc.so_reuseport", 0)])
        generic = grpc.method_handlers_generic_handler(service, dict(handlers))
        server.add_generic_rpc_handlers([generic])
        ports.append(server.add_insecure_port(f"127.0.0.1:{port}"))
        await server.start()
        stopping = asyncio.Event()
        loop = asyncio.get_running_loop()
        stop.append(lambda: loop.call_soon_threadsafe(stopping.set))
        ready.set()
        await stopping.wait()
        # Wait up to one second, because calls that the client cancelled take a moment to end.
        await server.stop(1.0)
        # Let the loop run a little longer, because gRPC completes cancelled calls only after
        # `stop`.
        await asyncio.sleep(0.05)

    thread = threading.Thread(target=asyncio.run, args=[serve()])
    thread.start()
    try:
        assert ready.wait(10)
        yield ports[0]
    finally:
        stop[0]()
        thread.join()
