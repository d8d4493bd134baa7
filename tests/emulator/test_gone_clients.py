"""A client that cancels its call, or goes away, is nothing to complain of."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

import pytest

from .clients import Clients, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.expects_log("a fault of the server")
def test_an_end_that_a_cancelled_call_cannot_be_told_is_not_logged(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # gRPC logs so when a call is cancelled while its last status is on its way: a race that is
    # won once in ten thousand cancelled ReadObjects, too seldom for a test.
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
