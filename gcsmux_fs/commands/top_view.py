"""The screen of `gcsmux top`, as a pure function of figures and the size of the terminal; sans-IO.

The screen has 80 columns and 24 lines or more. A wider screen shows more columns of the table of
streams, a higher screen shows more streams. A narrower screen has one column of figures.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from gcsmux_fs.commands.top_figures import OUTCOMES, QUANTILES
from gcsmux_fs.metrics.request_prices import PRICES_DATE
from gcsmux_fs.process.logs import printable
from gcsmux_fs.settings.units import rounded_duration, rounded_size

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import RenderableType

    from gcsmux_fs.commands.top_figures import (
        ChangeFigures,
        DiskCacheFigures,
        StreamRow,
        TopFigures,
    )

__all__ = ["top_view"]

_BARS = "▁▂▃▄▅▆▇█"
_LABEL = "cyan"
_DIM = "dim"
# The lines of the screen above and below the rows of the table of streams.
_OTHER_LINES = 21
_MIN_STREAM_ROWS = 2
# The further lines of a mount with a cache on disk.
_DISK_LINES = 2
# From this width, graphs are longer, and the table of streams shows the received bytes and the age.
_WIDE_COLUMNS = 96
# Below this width, the figures of memory and streams are below those of throughput and latency.
_NARROW_COLUMNS = 76
_LABEL_COLUMNS = 10
_LEFT_COLUMNS, _LEFT_COLUMNS_IF_WIDE = 40, 50
_BAR_COLUMNS, _BAR_COLUMNS_IF_WIDE = 8, 14
_FAULT_LINES = 3


def top_view(
    figures: TopFigures,
    history: Sequence[tuple[float, float]],
    *,
    width: int,
    height: int,
    notice: str = "",
    keys: str = "",
) -> RenderableType:
    """Return the screen.

    Args:
        figures: the figures of the last interval.
        history: the rates of readers and of the wire in bytes per second, the latest last.
        width: columns of the terminal.
        height: lines of the terminal; 0 shows all streams.
        notice: a sentence that is shown instead of the health, or "".
        keys: the explanation of the keys, or "".
    """
    wide = width >= _WIDE_COLUMNS
    left_columns = _LEFT_COLUMNS_IF_WIDE if wide else _LEFT_COLUMNS
    pairs = Table.grid(padding=(0, 2))
    pairs.add_column(width=left_columns, no_wrap=True)
    pairs.add_column(no_wrap=True, overflow="ellipsis")
    left = _left(figures, history, left_columns - _LABEL_COLUMNS - 13)
    right = _right(figures, _BAR_COLUMNS_IF_WIDE if wide else _BAR_COLUMNS)
    if width < _NARROW_COLUMNS:
        # Cut columns would hide figures. Lines below the screen hide only the less important ones.
        left, right = [*left, Text(""), *right], []
    for number in range(max(len(left), len(right))):
        pairs.add_row(*(side[number] if number < len(side) else "" for side in (left, right)))
    rows = len(figures.streams)
    if height:
        other_lines = _OTHER_LINES + (_DISK_LINES if figures.disk_cache else 0)
        rows = max(_MIN_STREAM_ROWS, height - other_lines)
    parts: list[RenderableType] = [_title(figures, width, notice), _subtitle(figures), Text("")]
    parts += [pairs, Text(""), *_money(figures), Text("")]
    parts += [_streams(figures.streams, rows, width), Text(""), _footer(figures, rows, keys)]
    return Group(*parts)


def _title(figures: TopFigures, width: int, notice: str) -> RenderableType:
    state = Text("● healthy", "green")
    if notice:
        state = Text(notice, "bold yellow")
    elif not figures.healthy:
        loop, age = max(figures.loop_ages.items(), key=lambda item: item[1])
        state = Text(f"● the {loop} loop is blocked for {age:.0f} s", "bold red")
    name = Text(f"{printable(figures.source)} on {printable(figures.mountpoint)}", "bold")
    name.truncate(max(10, width - state.cell_len - 2), overflow="ellipsis")
    gap = max(2, width - name.cell_len - state.cell_len)
    return Text.assemble(name, " " * gap, state, no_wrap=True)


def _subtitle(figures: TopFigures) -> Text:
    parts = (
        f"gcsmux-fs {figures.version}",
        f"process {figures.process}",
        f"up {_age(figures.uptime_seconds)}",
        f"interval {figures.seconds:.1f} s",
    )
    return Text(" · ".join(parts), _DIM, no_wrap=True)


def _left(
    figures: TopFigures, history: Sequence[tuple[float, float]], graph_columns: int
) -> list[Text]:
    """Return the lines of throughput and latency."""
    lines = [
        _line("readers", f"{_rate(figures.reader_rate):>12} ")
        + Text(_sparkline([reader for reader, _ in history], graph_columns), "green"),
        _line("wire", f"{_rate(figures.wire_rate):>12} ")
        + Text(_sparkline([wire for _, wire in history], graph_columns), "blue"),
        *_disk_rate(figures.disk_cache),
        _line("READs", f"{_per_second(figures.reads_per_second):>12}"),
        _line("other", f"{_per_second(figures.operations):>12} lookups, opens"),
        *_changes(figures.changes),
        Text(""),
    ]
    heads = "".join(f"{f'p{quantile * 100:g}':>8}" for quantile in QUANTILES)
    lines.append(Text(f"{'latency':<{_LABEL_COLUMNS}}{'share':>6}{heads}", _DIM))
    shares = {"all": 1.0, **(figures.shares or {})} if figures.shares else {}
    for outcome in ("all", *OUTCOMES):
        share = f"{shares[outcome]:>6.0%}" if outcome in shares else f"{'-':>6}"
        times = figures.latencies[outcome]
        shown = [f"{'-':>8}"] * len(QUANTILES)
        if times is not None:
            shown = [f"{rounded_duration(seconds):>8}" for seconds in times]
        lines.append(_line(outcome, share + "".join(shown)))
    return lines


def _right(figures: TopFigures, bar_columns: int) -> list[Text]:
    """Return the lines of memory, streams and faults."""
    unread = f", {rounded_size(figures.memory_unread)} unread" if figures.memory_unread else ""
    lines = [
        _line("memory", "") + _memory_bar(figures, bar_columns) + Text(f" {_budget(figures)}"),
        _line("in flight", f"{rounded_size(figures.memory_in_flight)}{unread}"),
        _line("resident", rounded_size(figures.resident_bytes)),
        *_disk_space(figures.disk_cache),
        _line("files", f"{figures.open_files} open, {figures.waiting_reads} READs waiting"),
        Text(""),
        _line("streams", f"{figures.streams_open} open, {figures.streams_idle} idle"),
        _line("ranges", f"{figures.ranges_in_flight} waiting, {figures.ranges_per_second:,.0f}/s"),
    ]
    faults = [fault for fault in (figures.errors, *figures.faults) if fault.total]
    if not faults:
        lines.append(_line("faults", "none since the start"))
    for number, fault in enumerate(faults[:_FAULT_LINES]):
        text = f"{fault.total:,} {fault.name}"
        text += f" (+{fault.recent:,})" if fault.recent else ""
        lines.append(_line("" if number else "faults", text, _fault_style(fault.recent)))
    return lines


def _changes(changes: ChangeFigures | None) -> list[Text]:
    """Return the line of the feed of changes: its state, and its rate or how late it is."""
    if changes is None:
        return []
    if changes.state == "healthy":
        return [_line("changes", f"{_per_second(changes.rate):>12} {changes.state}")]
    late = f", {rounded_duration(changes.lag_seconds)} late" if changes.lag_seconds else ""
    return [_line("changes", f"{changes.state}{late}", _fault_style(1))]


def _disk_rate(disk: DiskCacheFigures | None) -> list[Text]:
    """Return the line of the bytes that come from the cache on disk."""
    if disk is None:
        return []
    line = _line("disk", f"{_rate(disk.rate):>12} ")
    if disk.state != "on":
        return [line + Text(disk.state, _fault_style(1))]
    return [line + Text("" if disk.share is None else f"{disk.share:.0%} of ranges", "magenta")]


def _disk_space(disk: DiskCacheFigures | None) -> list[Text]:
    """Return the lines of the space that the cache on disk takes."""
    if disk is None:
        return []
    return [
        _line("on disk", f"{rounded_size(disk.used)} of {rounded_size(disk.limit)}"),
        _line("evicted", f"{disk.evictions:,} files of up to 4 MiB"),
    ]


def _budget(figures: TopFigures) -> str:
    return f"{rounded_size(figures.memory_used)} of {rounded_size(figures.memory_limit)}"


def _fault_style(recent: int) -> str:
    return "bold yellow" if recent else ""


def _memory_bar(figures: TopFigures, columns: int) -> Text:
    """Return a bar of the budget: bytes in flight, other used bytes, free bytes."""
    limit = figures.memory_limit or 1
    used = min(columns, round(figures.memory_used / limit * columns))
    flight = min(used, round(figures.memory_in_flight / limit * columns))
    return Text.assemble(
        ("█" * (used - flight), "green"),
        ("█" * flight, "blue"),
        ("░" * (columns - used), _DIM),
    )


def _money(figures: TopFigures) -> list[Text]:
    """Return the lines of requests and costs."""
    requests = ", ".join(
        f"{figures.requests[name]:,.0f} {word}"
        + (f" ({rate:,.1f}/s)" if (rate := figures.requests_per_second[name]) else "")
        for name, word in (("A", "class A"), ("B", "class B"), ("free", "free"))
    )
    cost = f"about {_dollars(figures.request_cost)} for requests"
    if figures.hourly_cost:
        cost += f", {_dollars(figures.hourly_cost)} per hour at this rate"
    transfer = f"{rounded_size(figures.wire_bytes)}, free in the bucket's region,"
    transfer += f" about {_dollars(figures.transfer_cost)} over the internet"
    return [_line("requests", requests), _line("cost", cost), _line("transfer", transfer)]


def _streams(rows: Sequence[StreamRow], most: int, width: int) -> Table:
    """Return the table of streams. The names of objects take the space that is left."""
    wide = width >= _WIDE_COLUMNS
    table = Table(
        box=None, padding=(0, 2, 0, 0), header_style=_DIM, width=width, pad_edge=False, expand=True
    )
    table.add_column("STREAM", ratio=1, no_wrap=True, overflow="ellipsis")
    table.add_column("GENERATION", no_wrap=True, min_width=16)
    if wide:
        table.add_column("STATE", no_wrap=True)
        table.add_column("AGE", justify="right", no_wrap=True, min_width=6)
    table.add_column("RANGES", justify="right", no_wrap=True)
    if wide:
        table.add_column("RECEIVED", justify="right", no_wrap=True, min_width=9)
    table.add_column("RATE", justify="right", no_wrap=True, min_width=11)
    table.add_column("REOPENS", justify="right", no_wrap=True)
    for row in rows[:most]:
        busy = row.bytes_per_second > 0 or row.ranges_in_flight > 0
        cells: list[Text | str] = [Text(printable(row.object)), str(row.generation)]
        if wide:
            cells += [row.state, _age(row.age_seconds)]
        cells.append(str(row.ranges_in_flight))
        if wide:
            cells.append(rounded_size(row.bytes_received))
        cells += [_rate(row.bytes_per_second) if busy else "-", str(row.reopens or "-")]
        table.add_row(*cells, style="" if busy else _DIM)
    return table


def _footer(figures: TopFigures, rows: int, keys: str) -> Text:
    hidden = len(figures.streams) - rows
    parts = [f"{hidden} more stream{'s' if hidden > 1 else ''}"] if hidden > 0 else []
    if not figures.streams:
        parts.append("no stream is open")
    if keys:
        parts.append(keys)
    parts.append(f"costs estimated for Standard storage, {PRICES_DATE}")
    return Text(" · ".join(parts), _DIM, no_wrap=True)


def _line(label: str, text: str, style: str = "") -> Text:
    return Text.assemble((f"{label:<{_LABEL_COLUMNS}}", _LABEL), (text, style), no_wrap=True)


def _sparkline(values: Sequence[float], columns: int) -> str:
    """Return the last `columns` values as bars, relative to the largest of them."""
    shown = list(values)[-columns:]
    largest = max(shown, default=0)
    if largest <= 0:
        return ""
    return "".join(_BARS[min(7, int(value / largest * 8))] for value in shown)


def _rate(bytes_per_second: float) -> str:
    return f"{rounded_size(bytes_per_second)}/s"


def _per_second(number: float) -> str:
    return f"{number:,.0f}/s"


def _dollars(cost: float) -> str:
    """Return a cost with two digits after the point, or four if it is below a cent."""
    return f"${cost:,.2f}" if cost >= 0.01 else f"${cost:.4f}" if cost >= 0.0001 else "$0"


def _age(seconds: float) -> str:
    """Return a duration in its two largest units, such as `2h03m`."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    days, hours = divmod(hours, 24)
    if days:
        return f"{days}d{hours:02}h"
    if hours:
        return f"{hours}h{minutes:02}m"
    return f"{minutes}m{rest:02}s" if minutes else f"{seconds:.0f}s"
