"""Tests of the engines of a process and of the leases that keep them."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

from gcsmux_fs.fsspec_access.access_settings import settings_from_options
from gcsmux_fs.fsspec_access.engines import _Engines


def test_a_collected_lease_never_waits_for_a_thread_that_starts_an_engine() -> None:
    """The garbage collector may run in the thread whose start another thread waits for."""
    engines, settings = _Engines(), settings_from_options(anonymous=True)
    stopped: list[str] = []
    engine: Any = SimpleNamespace(stop_soon=lambda: stopped.append("engine"), is_alive=True)
    engines.acquire(settings)
    engines.running[settings] = engine
    with engines.lock:
        collector = threading.Thread(target=engines.release, args=(settings,), daemon=True)
        collector.start()
        collector.join(10)
        assert not collector.is_alive()
        assert stopped == []
    engines.settle()
    assert stopped == ["engine"]
    assert not engines.running
    assert not engines.leases
