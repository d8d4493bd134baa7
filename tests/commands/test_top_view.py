"""Tests of the figures and of the screen of `gcsmux top`, without a mount."""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console

from gcsmux_fs.commands.top_figures import MountSnapshot, TopFigures, figures_between
from gcsmux_fs.commands.top_view import top_view
from gcsmux_fs.metrics.histogram import BUCKET_BOUNDS_SECONDS
from gcsmux_fs.metrics.request_prices import PRICES_DATE

MIB = 1 << 20
GIB = 1 << 30


def metric(name: str, kind: str, *values: tuple[dict[str, str], Any]) -> dict[str, Any]:
    return {
        "name": name,
        "unit": "things",
        "help": "help",
        "kind": kind,
        "section": "section",
        "values": [{"labels": labels, "value": value} for labels, value in values],
    }


def histogram(counts: dict[float, int]) -> dict[str, Any]:
    """Return a histogram with observations in the buckets of these upper bounds."""
    numbers = [counts.get(bound, 0) for bound in BUCKET_BOUNDS_SECONDS]
    return {"counts": [*numbers, 0], "sum": 0.0}


def stream(name: str, received: int, **changes: Any) -> dict[str, Any]:
    return {
        "bucket": "my-bucket",
        "object": name,
        "generation": 1796052007182762,
        "state": "open",
        "age_seconds": 75.0,
        "ranges_in_flight": 3,
        "ranges_unsent": 1,
        "bytes_received": received,
        "reopens": 0,
        "last_error": "",
        **changes,
    }


def snapshot(
    second: int, streams: list[dict[str, Any]] | None = None, **changes: Any
) -> MountSnapshot:
    """Return what a mount answers after `second` seconds of steady work."""
    counters = {
        "bytes_served": 500 * MIB,
        "bytes_received": 250 * MIB,
        "hits": 90,
        "waits": 6,
        "misses": 4,
        "ranges_delivered": 130,
    }
    gauges = {
        "budget_limit": 256 * MIB,
        "budget_used": 128 * MIB,
        "budget_in_flight": 32 * MIB,
        "budget_unread": MIB,
        "resident_bytes": 200 * MIB,
        "streams_open": 2,
        "streams_idle": 1,
        "ranges_waiting": 45,
        "open_files": 7,
        "waiting_reads": 5,
    }
    metrics = [
        *(metric(name, "counter", ({}, number * second)) for name, number in counters.items()),
        *(metric(name, "gauge", ({}, number)) for name, number in gauges.items()),
        *(metric(name, "counter", ({}, number)) for name, number in changes.items()),
        metric(
            "requests_by_class",
            "counter",
            ({"class": "A"}, 2 * second),
            ({"class": "B"}, 1000 * second),
            ({"class": "free"}, 0),
        ),
        metric(
            "read_seconds",
            "histogram",
            ({"outcome": "hit"}, histogram({0.00005: 90 * second})),
            ({"outcome": "wait"}, histogram({0.01: 6 * second})),
            ({"outcome": "miss"}, histogram({0.05: 4 * second})),
        ),
        metric(
            "fs_op_errors",
            "counter",
            ({"op": "lookup", "errno": "ENOENT"}, 70 * second),
            ({"op": "getxattr", "errno": "ENODATA"}, 10 * second),
            ({"op": "read", "errno": "EIO"}, second - 1),
        ),
    ]
    stats = {
        "version": "0.1.0",
        "pid": 4711,
        "source": "gs://my-bucket/train",
        "mountpoint": "/mnt/data",
        "uptime_seconds": float(second),
        "loop_ages_seconds": {"trio": 0.2, "asyncio": 0.4},
        "healthy": True,
        "metrics": metrics,
    }
    return MountSnapshot(stats, streams or [])


def lines(figures: TopFigures, width: int = 80, height: int = 24, **options: Any) -> list[str]:
    """Return the lines of the screen without styles."""
    console = Console(width=width, height=height, color_system=None, legacy_windows=False)
    with console.capture() as capture:
        view = top_view(figures, [(1.0, 0.5)] * 50, width=width, height=height, **options)
        console.print(view, end="")
    return [line.rstrip() for line in capture.get().splitlines()]


def test_the_figures_are_those_of_the_interval() -> None:
    figures = figures_between(
        snapshot(1, [stream("a", 100 * MIB)], streams_reopened=3),
        snapshot(3, [stream("a", 300 * MIB), stream("b", 10 * MIB)], streams_reopened=5),
    )
    assert figures.seconds == 2.0
    assert figures.reader_rate == 500 * MIB
    assert figures.wire_rate == 250 * MIB
    assert figures.wire_bytes == 750 * MIB
    assert figures.reads_per_second == 100
    assert figures.shares == {"hit": 0.9, "wait": 0.06, "miss": 0.04}
    assert figures.latencies["hit"] == pytest.approx((35e-6, 47e-6, 49.7e-6))
    assert figures.latencies["all"] == pytest.approx((36.7e-6, 50e-6, 0.0425), rel=0.01)
    assert [(row.object, row.bytes_per_second / MIB) for row in figures.streams] == [
        ("a", 100.0),
        ("b", 5.0),
    ]
    assert figures.streams[0].ranges_in_flight == 4
    (reopened,) = figures.faults
    assert (reopened.name, reopened.recent, reopened.total) == ("streams reopened", 2, 5)


def test_an_absent_name_is_no_failed_request() -> None:
    errors = figures_between(snapshot(1), snapshot(3)).errors
    assert (errors.recent, errors.total) == (2, 2)


def test_the_costs_follow_from_the_prices() -> None:
    figures = figures_between(snapshot(1), snapshot(2))
    assert figures.request_cost == pytest.approx(4 * 0.005 / 1000 + 2000 * 0.0004 / 1000)
    assert figures.hourly_cost == pytest.approx(3600 * (2 * 0.000005 + 1000 * 0.0000004))
    assert figures.transfer_cost == pytest.approx(500 / 1024 * 0.12)


def test_a_mount_without_reads_has_no_percentiles() -> None:
    figures = figures_between(snapshot(2), snapshot(2))
    assert figures.shares is None
    assert set(figures.latencies.values()) == {None}


def test_the_smallest_screen_shows_everything() -> None:
    streams = [stream(f"train/shard-{number:05}.tar", number * MIB) for number in range(12)]
    figures = figures_between(snapshot(1), snapshot(3, streams, streams_reopened=2, retries=4))
    shown = lines(figures, keys="q quits")
    assert len(shown) <= 24
    assert all(len(line) <= 80 for line in shown)
    assert shown[0].startswith("gs://my-bucket/train on /mnt/data")
    assert shown[0].endswith("● healthy")
    text = "\n".join(shown)
    for part in (
        *("500 MiB/s", "250 MiB/s", "100/s", "90%", "35.0 us", "128 MiB of 256 MiB", "200 MiB"),
        *("2 open, 1 idle", "45 waiting", "7 open, 5 READs waiting", "2 streams reopened (+2)"),
        *("4 retries (+4)", "2 failed requests (+2)", "6 class A (2.0/s)", "3,000 class B"),
        *("about $0.0012 for requests", "$1.48 per hour", "about $0.09 over the internet"),
        *("train/shard-00011.tar", "1796052007182762", "9 more streams", "q quits"),
    ):
        assert part in text, part
    assert "…" not in text


def disk_counts(state: int, ranges: int) -> dict[str, Any]:
    """Return the metrics of a cache on disk that had three quarters of `ranges`."""
    return {
        "disk_cache_state": state,
        "disk_cache_hits": ranges * 3 // 4,
        "disk_cache_misses": ranges // 4,
        "disk_cache_hit_bytes": ranges * MIB,
        "disk_cache_bytes": 12 * GIB,
        "disk_cache_limit_bytes": 20 * GIB,
        "disk_cache_evictions": 1234,
        "disk_cache_errors": 5,
    }


def test_a_cache_on_disk_has_its_own_lines_and_fits_too() -> None:
    streams = [stream(f"train/shard-{number:05}.tar", MIB) for number in range(12)]
    before = snapshot(1, **disk_counts(1, 100))
    figures = figures_between(before, snapshot(3, streams, **disk_counts(1, 500)))
    shown = lines(figures, keys="q quits")
    assert len(shown) <= 24
    text = "\n".join(shown)
    for part in ("disk         200 MiB/s 75% of ranges", "12.0 GiB of 20.0 GiB", "1,234 files"):
        assert part in text, part
    assert "5 disk errors" in text
    assert "…" not in text
    paused = figures_between(before, snapshot(3, **disk_counts(2, 100)))
    assert "disk             0 B/s paused" in "\n".join(lines(paused))
    assert figures_between(snapshot(1), snapshot(3)).disk_cache is None


def test_the_feed_of_changes_has_a_line_with_its_state() -> None:
    def states(of: str) -> list[dict[str, Any]]:
        values = [({"state": each}, int(each == of)) for each in ("healthy", "catching_up", "lost")]
        return [metric("changes_state", "gauge", *values)]

    def feed(second: int, state: str, lag: float) -> MountSnapshot:
        made = snapshot(second, changes_received=second * 12, **disk_counts(1, 100))
        rows = [*states(state), metric("changes_lag_seconds", "gauge", ({}, lag))]
        return MountSnapshot({**made.stats, "metrics": [*made.stats["metrics"], *rows]}, [])

    healthy = lines(figures_between(feed(1, "healthy", 0.0), feed(3, "healthy", 0.02)))
    assert len(healthy) <= 24
    assert "changes           12/s healthy" in "\n".join(healthy)
    late = figures_between(feed(1, "healthy", 0.0), feed(3, "catching_up", 3.0))
    assert "changes   catching up, 3.00 s late" in "\n".join(lines(late))
    assert figures_between(snapshot(1), snapshot(3)).changes is None


def test_a_narrow_screen_cuts_no_figure_of_the_mount() -> None:
    figures = figures_between(snapshot(1), snapshot(3))
    text = "\n".join(lines(figures, width=48, height=60))
    for part in ("500 MiB/s", "35.0 us", "128 MiB of 256 MiB", "7 open, 5 READs waiting"):
        assert part in text, part


def test_a_larger_screen_shows_more_streams_and_columns() -> None:
    streams = [stream(f"object-{number}", number * MIB) for number in range(12)]
    figures = figures_between(snapshot(1), snapshot(3, streams))
    shown = lines(figures, width=120, height=40)
    text = "\n".join(shown)
    assert "object-0 " in text
    assert "more stream" not in text
    assert "RECEIVED" in text
    assert "1m15s" in text
    assert len(shown) <= 40
    assert all(len(line) <= 120 for line in shown)


def test_the_names_of_objects_cannot_control_the_terminal() -> None:
    figures = figures_between(snapshot(1), snapshot(3, [stream("a\x1b[2J\n[bold]b", MIB)]))
    text = "\n".join(lines(figures))
    assert "\x1b" not in text
    assert "a\\x1b[2J\\n[bold]b" in text


def test_a_long_name_is_cut() -> None:
    figures = figures_between(snapshot(1), snapshot(3, [stream("x" * 300, MIB)]))
    shown = lines(figures)
    assert all(len(line) <= 80 for line in shown)
    assert any("xxx…" in line for line in shown)


def test_a_blocked_loop_is_shown() -> None:
    after = snapshot(3)
    stats = {**after.stats, "healthy": False, "loop_ages_seconds": {"trio": 12.3, "asyncio": 0.1}}
    figures = figures_between(snapshot(1), MountSnapshot(stats, after.streams))
    assert lines(figures)[0].endswith("● the trio loop is blocked for 12 s")


def test_a_notice_replaces_the_health() -> None:
    figures = figures_between(snapshot(1), snapshot(3))
    assert lines(figures, notice="the mount did not answer")[0].endswith("the mount did not answer")


def test_an_idle_mount_fits_too() -> None:
    shown = lines(figures_between(snapshot(2), snapshot(2)))
    assert len(shown) <= 24
    assert "no stream is open" in shown[-1]


def test_the_document_has_every_field_of_the_json_and_the_date_of_the_prices() -> None:
    document = (Path(__file__).parents[2] / "docs" / "CONTROL.md").read_text()
    _, _, section = document.partition("## The figures of top")
    table = section.partition("## The socket")[0]
    documented = [
        name
        for row in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE)
        for name in re.findall(r"`(\w+)`", row)
    ]
    assert sorted(documented) == sorted(field.name for field in fields(TopFigures))
    assert PRICES_DATE in table
