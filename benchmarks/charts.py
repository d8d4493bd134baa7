"""The charts of README.md; the title of each chart states what it shows.

Run as `charts.py RESULTS.json FOLDER`. `make bench` also draws the charts at its end.
"""

from __future__ import annotations

import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import matplotlib as mpl
from matplotlib import pyplot as plt
from matplotlib import ticker

from benchmarks import plans, report
from benchmarks.objects import KIB
from benchmarks.programs_chart import programs_chart
from benchmarks.results import Metric

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.results import Results, Run

__all__ = ["draw_all"]

_COLOURS = {
    "client": "#9aa5b1",
    "raw gRPC": "#c3cad2",
    "mount": "#4c9be8",
    "mount, 128 KiB": "#8fbfee",
    "mount, tuned": "#1257a6",
    "mount, zonal": "#4c9be8",
    "rclone": "#e07b39",
    "rclone, no checks": "#f2b48a",
    "gcsfuse": "#5a9e4b",
    "gcsfuse, zonal": "#9cc792",
    "pyfuse3": "#d5d9de",
    "pyfuse3, tuned": "#d5d9de",
    "disk": "#d5d9de",
}
_LABELS = {
    "client": "our client, no FUSE",
    "mount": "gcsmux-mount",
    "mount, tuned": "gcsmux-mount, tuned",
    "pyfuse3": "pyfuse3 from memory",
    "pyfuse3, tuned": "pyfuse3 from memory, tuned",
    "disk": "local disk",
}
_GROWING = ("client", "mount", "gcsfuse")
_THREADS = (1, 2, 8, 32, 64)
_STYLE = {
    "axes.grid": True,
    "axes.grid.axis": "x",
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlelocation": "left",
    "axes.titlesize": 11,
    "axes.titleweight": "bold",
    "figure.dpi": 110,
    "font.size": 9,
    "grid.color": "#e6e9ed",
    "svg.hashsalt": "gcsmux",
}


def draw_all(results: Results, folder: Path) -> None:
    """Write all charts as PNG files."""
    folder.mkdir(parents=True, exist_ok=True)
    mpl.use("Agg")
    with plt.rc_context(_STYLE):
        for name, draw in (
            ("programs", programs_chart),
            ("throughput", _throughput),
            ("small-files", _small_files),
            ("latency", _latency),
            ("growth", _growth),
        ):
            figure = draw(results)
            figure.savefig(folder / f"{name}.png", metadata={"Software": None})
            plt.close(figure)


def _panels(rows: int, height: float) -> tuple[Figure, list[Axes]]:
    """Return a figure with two columns, and its panels row by row."""
    figure: Figure = plt.figure(figsize=(10, height), layout="constrained")
    return figure, list(figure.subplots(rows, 2).flat)


def _label(contender: str) -> str:
    return _LABELS.get(contender, contender)


def _bars(
    axes: Axes,
    results: Results,
    case: str,
    latency_ms: int,
    metric: Metric,
    contenders: Sequence[str],
) -> None:
    """Draw the median of each contender as a bar, and a line from the minimum to the maximum."""

    def figure(run: Run) -> float:
        return metric.of(run.outcome)

    spreads = [
        (contender, results.spread(case, contender, latency_ms, figure)) for contender in contenders
    ]
    shown = [(contender, spread) for contender, spread in spreads if spread is not None]
    _, factor, _ = metric.value
    for place, (contender, spread) in enumerate(shown):
        median, least, most = (value * factor for value in spread)
        axes.barh(place, median, color=_COLOURS[contender], height=0.72)
        axes.plot([least, most], [place, place], color="#333333", linewidth=1)
        axes.text(
            most, place, f"  {metric.show(spread.median)}", va="center", fontsize=8, color="#333333"
        )
    axes.set_yticks(range(len(shown)), [_label(contender) for contender, _ in shown])
    axes.invert_yaxis()
    axes.margins(x=0.14)
    axes.set_xlim(left=0)
    axes.tick_params(length=0)
    axes.set_xlabel(metric.unit)


def _throughput(results: Results) -> Figure:
    figure, panels = _panels(rows=3, height=9.5)
    cases = (
        ("Cold sequential read", plans.SEQUENTIAL),
        ("Model loading, out of order", plans.TENSORS),
        ("4 threads on one file", plans.FOUR_THREADS),
        ("4 files at once", plans.FOUR_FILES),
        ("Through mmap", plans.MAPPED),
        ("Read again (page cache)", plans.REPEAT),
    )
    for axes, (title, case) in zip(panels, cases, strict=True):
        _bars(axes, results, case, 0, Metric.RATE, list(_COLOURS))
        axes.set_title(title)
    figure.suptitle("Throughput, 1 GiB from a server without latency (more is better)", fontsize=13)
    return figure


def _small_files(results: Results) -> Figure:
    figure, panels = _panels(rows=2, height=5.5)
    cases = (
        ("In listing order, 1 reader, 0 ms", plans.IN_ORDER, 0),
        ("Shuffled, 16 readers, 0 ms", plans.SHUFFLED, 0),
        ("In listing order, 1 reader, 5 ms", plans.IN_ORDER, 5),
        ("Shuffled, 16 readers, 5 ms", plans.SHUFFLED, 5),
    )
    for axes, (title, case, latency_ms) in zip(panels, cases, strict=True):
        _bars(axes, results, case, latency_ms, Metric.SECONDS, list(_COLOURS))
        axes.set_title(title)
    figure.suptitle("2,000 files of 64 KiB, cold: seconds for all (less is better)", fontsize=13)
    return figure


def _latency(results: Results) -> Figure:
    figure, panels = _panels(rows=2, height=5.5)
    cases = (
        ("Random 4 KiB, 1 reader", plans.random_case(4 * KIB, 1)),
        ("Random 4 KiB, 32 readers", plans.random_case(4 * KIB, 32)),
        ("Open and read 64 KiB, just listed", plans.OPENED),
        ("First byte of an unlisted file", plans.FIRST_BYTE),
    )
    for axes, (title, case) in zip(panels, cases, strict=True):
        _percentiles(axes, results, case, 5)
        axes.set_title(title)
    figure.suptitle(
        "Latency if the server answers after 5 ms (dashed line; less is better)", fontsize=13
    )
    return figure


def _percentile(run: Run, rank: str) -> float:
    return run.outcome.latencies[rank] * 1e3


def _percentiles(axes: Axes, results: Results, case: str, latency_ms: int) -> None:
    """Draw a row for each contender: a line from its median latency to the 99th percentile."""
    place = 0
    names: list[str] = []
    for contender in _COLOURS:
        found = [
            results.median(case, contender, latency_ms, partial(_percentile, rank=rank))
            for rank in ("50", "95", "99")
        ]
        points = [value for value in found if value is not None]
        if not points:
            continue
        axes.plot(points, [place] * len(points), color=_COLOURS[contender], linewidth=3)
        for value, marker in zip(points, "o|D", strict=True):
            axes.plot(value, place, marker, color=_COLOURS[contender], markersize=8)
        axes.text(points[-1], place, f"    {points[0]:.1f} - {points[-1]:.1f}", va="center")
        names.append(_label(contender))
        place += 1
    axes.axvline(latency_ms, color="#888888", linestyle="--", linewidth=1)
    axes.set_yticks(range(place), names)
    axes.set_ylim(place - 0.4, -0.7)
    axes.set_xlim(0, axes.get_xlim()[1] * 1.2)
    axes.tick_params(length=0)
    axes.set_xlabel("ms: median, 95th and 99th percentile")


def _growth(results: Results) -> Figure:
    figure, panels = _panels(rows=2, height=6.5)
    walks = [(count, plans.walk_case(count)) for count in plans.SIZES]
    threads = [(count, plans.random_case(4 * KIB, count)) for count in _THREADS]
    touches = [(count, plans.touch_case(count)) for count in plans.SIZES]
    holds = [(count, plans.hold_case(count)) for count in plans.HELD]
    first, second, third, fourth = panels
    _lines(first, results, walks, 0, lambda run: run.outcome.seconds / run.outcome.operations * 1e6)
    first.set(title="find: time for one object", xlabel="objects", ylabel="microseconds")
    _lines(second, results, threads, 5, lambda run: run.outcome.operations / run.outcome.seconds)
    second.plot(
        _THREADS, [count / 0.005 for count in _THREADS], "--", color="#888888", label="ideal"
    )
    second.set(title="Random 4 KiB at 5 ms", xlabel="readers", ylabel="reads per second")
    second.set_yscale("log")
    second.set_ylim(100, 20_000)
    second.legend(frameon=False)
    _lines(third, results, touches, 0, lambda run: run.cpu_seconds_per_operation * 1e6)
    third.set(title="Open and read one file", xlabel="objects listed", ylabel="CPU microseconds")
    _lines(fourth, results, holds, 0, lambda run: run.cpu_seconds_per_operation * 1e6)
    fourth.set(title="Random 4 KiB read", xlabel="files open", ylabel="CPU microseconds")
    figure.suptitle("Growth with the number of objects, readers and open files", fontsize=13)
    return figure


def _lines(
    axes: Axes,
    results: Results,
    cases: Sequence[tuple[int, str]],
    latency_ms: int,
    figure: Callable[[Run], float],
) -> None:
    """Draw a line for each contender. The x axis is the parameter of the cases."""
    for contender in _GROWING:
        spreads = [
            (count, results.spread(case, contender, latency_ms, figure)) for count, case in cases
        ]
        known = [(count, spread) for count, spread in spreads if spread is not None]
        if len(known) < 2:
            continue
        counts = [count for count, _ in known]
        axes.plot(
            counts,
            [each.median for _, each in known],
            "o-",
            color=_COLOURS[contender],
            label=_label(contender),
        )
        axes.fill_between(
            counts,
            [each.least for _, each in known],
            [each.most for _, each in known],
            color=_COLOURS[contender],
            alpha=0.2,
            linewidth=0,
        )
    axes.set_xscale("log")
    axes.set_xticks([count for count, _ in cases])
    axes.xaxis.set_major_formatter(ticker.StrMethodFormatter("{x:,.0f}"))
    axes.xaxis.set_minor_locator(ticker.NullLocator())
    axes.set_ylim(0, axes.get_ylim()[1] * 1.15)
    axes.grid(axis="y")
    axes.legend(frameon=False)


if __name__ == "__main__":
    draw_all(report.read_json(Path(sys.argv[1])), Path(sys.argv[2]))
