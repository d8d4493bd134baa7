"""The soak in its short form: real programs, a real mount, random faults, all bytes compared."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from .run import Options, soak

if TYPE_CHECKING:
    from pathlib import Path

# With all that comes before and after it is half a minute; `make soak` is for longer ones.
SECONDS = 20
# Any seed has to pass; one is taken, so that a run that fails can be looked at again.
SEED = 8


@pytest.mark.mount
def test_a_mount_survives_random_faults(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Should it hang, the interpreter tells where.
    monkeypatch.setenv("PYTHONFAULTHANDLER", "1")
    summary = soak(Options(SECONDS, SEED), tmp_path)
    print(summary.table())
    assert summary.failures == []
    assert summary.bytes_compared > 10_000_000
    assert sum(summary.faults.values()) > 50
