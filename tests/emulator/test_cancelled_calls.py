"""The emulator logs no error when a client cancels a call or loses its connection."""

from __future__ import annotations

import importlib
import logging
from typing import TYPE_CHECKING

import pytest

from .clients import Clients, serve

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.expects_log("a fault of the server")
def test_grpcs_report_about_the_status_of_a_cancelled_call_is_not_logged(
    served: Path, caplog: pytest.LogCaptureFixture
) -> None:
    # gRPC logs this error if a call is cancelled while its status is being sent. This happens once
    # in ten thousand cancelled ReadObject calls, which is too rare for a test. So the test logs it.
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
