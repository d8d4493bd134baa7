"""When a client cancels a call or loses its connection, the emulator logs no error."""

from __future__ import annotations

import asyncio
import importlib
import logging
from typing import TYPE_CHECKING, Any, cast

import pytest

from gcsmux_fs.storage.pb import storage_pb2 as pb

from .clients import Clients, serve

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


@pytest.mark.expects_log("a fault of the server")
def test_grpcs_report_about_the_status_of_a_cancelled_call_is_not_logged(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # gRPC logs this error if a client cancels a call while the server sends the status. This
    # happens once in ten thousand cancelled ReadObject calls. Because that is too rare for a test,
    # the test itself logs the error.
    cygrpc = importlib.import_module("grpc._cython.cygrpc")
    logger = logging.getLogger("grpc._cython.cygrpc")

    async def scenario(_: Clients) -> None:
        for error, message in (
            (cygrpc.ExecuteBatchError("execute_batch"), "ExecuteBatchError raised in core"),
            (ValueError("bad"), "a fault of the server"),
        ):
            try:
                raise error
            except type(error):
                logger.exception(message)

    serve(served, scenario)
    assert [record.getMessage() for record in caplog.records] == ["a fault of the server"]


def test_a_call_that_waits_for_a_message_while_the_server_stops_ends_as_cancelled(
    served: Path,
) -> None:
    async def messages() -> AsyncIterator[bytes]:
        yield b""
        # gRPC raises this error about once when a server stops several thousand times. Because that
        # is too rare for a test, the test itself raises the error.
        raise importlib.import_module("grpc._cython.cygrpc")._ServerStoppedError("stopped")

    async def read_all(requests: AsyncIterator[pb.BidiReadObjectRequest], _send: object) -> None:
        async for _ in requests:
            pass

    async def scenario(clients: Clients) -> None:
        handlers = clients.emulator._handlers
        _, handler = handlers.streaming("BidiReadObject", pb.BidiReadObjectRequest, read_all)
        call = asyncio.create_task(cast("Any", handler).stream_stream(messages(), Context()))
        with pytest.raises(asyncio.CancelledError):
            await call

    serve(served, scenario)


class Context:
    def invocation_metadata(self) -> tuple[()]:
        return ()
