"""Tests that the benchmarks find gcsfuse, write its command line, and mount if it is installed."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from benchmarks.contenders import CONTENDERS
from benchmarks.site import GCSFUSE_VARIABLE, Site, gcsfuse
from benchmarks.tasks import Kind, Task
from tests.support.emulator_process import EmulatorProcess

if TYPE_CHECKING:
    from pathlib import Path

KINDS = ("gcsfuse", "gcsfuse, zonal")
SIZE = 3_000_000


@pytest.mark.parametrize("kind", KINDS)
def test_gcsfuse_gets_the_options_for_plaintext_grpc(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    binary = tmp_path / "gcsfuse-3"
    binary.touch(mode=0o755)
    monkeypatch.setenv(GCSFUSE_VARIABLE, str(binary))
    contender = CONTENDERS[kind]
    assert contender.missing(Task(Kind.FIRST_BYTE, ("f",)), 0) == ""
    emulator = EmulatorProcess(tmp_path, port=5)
    command = contender.launch(emulator, "b", tmp_path / "mnt").command  # type: ignore[attr-defined]
    assert command[0] == str(binary)
    assert "--custom-endpoint=http://127.0.0.1:5" in command
    assert "--grpc-path-strategy=direct-path-only" in command
    assert ("--inactive-mrd-cache-size=64" in command) == ("zonal" in kind)
    assert command[-2:] == ["b", str(tmp_path / "mnt")]


def test_a_missing_gcsfuse_is_reported_with_its_search_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv(GCSFUSE_VARIABLE, raising=False)
    reason = CONTENDERS["gcsfuse"].missing(Task(Kind.FIRST_BYTE, ("f",)), 0)
    assert reason == "not installed (neither on PATH nor named by GCSFUSE)"


@pytest.mark.mount
@pytest.mark.real_time
@pytest.mark.skipif(
    gcsfuse() is None, reason=f"gcsfuse is neither on PATH nor named by {GCSFUSE_VARIABLE}"
)
@pytest.mark.parametrize("kind", KINDS)
def test_gcsfuse_mounts_and_reads(tmp_path: Path, kind: str) -> None:
    options = ["--location-type=zone"] if "zonal" in kind else []
    buckets = tmp_path / "buckets"
    (buckets / "b").mkdir(parents=True)
    (buckets / "b" / "f").write_bytes(os.urandom(SIZE))
    with EmulatorProcess(buckets, options) as emulator:
        emulators = {(0, zonal): emulator for zonal in (False, True)}
        site = Site(tmp_path, buckets, emulators)
        task = Task(Kind.SEQUENTIAL, ("f",), SIZE)
        outcome, cost = CONTENDERS[kind].run(site, "b", task, 0)
    assert outcome.read_bytes == SIZE
    method = "BidiReadObject" if "zonal" in kind else "ReadObject"
    assert cost.requests.get(method, 0) > 0
