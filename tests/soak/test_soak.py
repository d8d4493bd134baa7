"""A soak of ten seconds: programs read a real mount under random faults and compare each byte."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .run import Options, soak
from .seed_of_the_day import SECONDS, repeat_command, seed_of_the_day

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.mount
def test_a_mount_survives_random_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # With this variable, the mount process prints its stacks when the soak aborts the process.
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    summary = soak(Options(SECONDS, seed_of_the_day()), tmp_path)
    print(summary.table())
    assert summary.failures == [], f"repeat this run with: {repeat_command()}"
    assert summary.phases >= 1
    assert summary.bytes_compared > 2_000_000
