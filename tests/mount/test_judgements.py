"""What a mount finds out before it begins, of a server that answers strangely."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import EndOk, Malformed, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode

from .refused import refusal

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.emulator.faults import Fault

    from .harness import EmulatorProcess

pytestmark = pytest.mark.mount


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (EndOk(), "malformed answer: it is empty [INTERNAL]"),
        (Malformed(), "malformed answer: "),
        (Status(StatusCode.RESOURCE_EXHAUSTED, "slow down"), "slow down [RESOURCE_EXHAUSTED]"),
        (Status(StatusCode.INTERNAL, "out of luck"), "out of luck [INTERNAL]"),
    ],
)
def test_a_server_that_answers_without_serving_is_told_so(
    emulator: EmulatorProcess, folder: Path, fault: Fault, said: str
) -> None:
    emulator.order(Rule(fault, method="*", times=FOR_EVER))
    line = refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)
    told = f"the service at {emulator.endpoint} answers, but does not serve gs://my-bucket: "
    assert line.startswith(told)
    assert said in line


def test_a_server_that_cannot_be_had_is_told_as_before(
    emulator: EmulatorProcess, folder: Path
) -> None:
    emulator.order(Rule(Status(StatusCode.UNAVAILABLE, "away"), method="*", times=FOR_EVER))
    line = refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)
    assert line == f"the service at {emulator.endpoint} does not answer: away."
