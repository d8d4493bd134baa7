"""If the server's first answers are wrong, the start of a mount fails with one sentence."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import EndOk, Malformed, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.mount.refused import refusal
from tests.support.emulator_process import BUCKET, EmulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.emulator.faults import Fault

pytestmark = pytest.mark.mount

FAULTS: dict[str, Fault] = {
    "empty": EndOk(),
    "malformed": Malformed(),
    "exhausted": Status(StatusCode.RESOURCE_EXHAUSTED, "slow down"),
    "internal": Status(StatusCode.INTERNAL, "out of luck"),
    "unavailable": Status(StatusCode.UNAVAILABLE, "away"),
}


def refused_start(folder: Path, fault: Fault) -> str:
    """Start a mount of an emulator that answers every call with this fault.

    Return the error message, in which ENDPOINT replaces the endpoint.
    """
    with EmulatorProcess(folder) as emulator:
        emulator.inject(Rule(fault, method="*", times=FOR_EVER))
        line = refusal(folder, STORAGE_EMULATOR_HOST_GRPC=emulator.endpoint)
        return line.replace(emulator.endpoint, "ENDPOINT")


def test_a_start_reports_how_the_server_answers(folder: Path) -> None:
    # Each start retries for 6 s before it fails. So all starts run at the same time.
    with ThreadPoolExecutor(len(FAULTS)) as threads:
        lines = dict(
            zip(
                FAULTS,
                threads.map(refused_start, (folder / name for name in FAULTS), FAULTS.values()),
                strict=True,
            )
        )
    unanswered = lines.pop("unavailable")
    assert unanswered.startswith(
        "the service at ENDPOINT does not answer: away: run `gcsmux doctor`"
    )
    answers = f"the service at ENDPOINT answers, but does not serve gs://{BUCKET}: "
    assert {line.startswith(answers) for line in lines.values()} == {True}, lines
    assert "malformed answer: it is empty [INTERNAL]" in lines["empty"]
    assert "malformed answer: " in lines["malformed"]
    assert "slow down [RESOURCE_EXHAUSTED]" in lines["exhausted"]
    assert "out of luck [INTERNAL]" in lines["internal"]
