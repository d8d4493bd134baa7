"""The chart "your program": seconds of user programs by mount, gcsfuse and rclone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from matplotlib import pyplot as plt

from benchmarks.programs_plan import LIMIT_SECONDS, titled
from benchmarks.results import Key

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

    from benchmarks.results import Results

__all__ = ["programs_chart"]

# The programs of the chart, and what their panels are called there.
_YOUR_PROGRAM = {
    "in-order": "Copy a 721 MB file",
    "safetensors": "Load it by safetensors",
    "shards": "Load a model of 8 shards",
    "random-rows": "600 random rows of a matrix (numpy)",
    "slices": "16 slices of a volume (HDF5)",
    "columns": "2 of 20 columns (Parquet)",
    "interleaved": "8 threads read one file",
    "mapped-backward": "64 MiB mapped, backward",
    "strides": "64 KiB of every MiB, 600 times",
    "tar": "Read a tar file of 268 MB",
    "files-in-order": "2,000 small files in order",
    "files-shuffled": "2,000 small files shuffled",
}
_RIVALS = {"mount": "gcsmux-mount", "gcsfuse": "gcsfuse", "rclone": "rclone"}
# A bar shows the fastest of these contenders.
_VARIANTS = {"gcsfuse": ("gcsfuse", "gcsfuse, defaults")}
_COLOURS = {"mount": "#1257a6", "gcsfuse": "#5a9e4b", "rclone": "#e07b39"}
_REGIONAL_MS = 20


def programs_chart(results: Results) -> Figure:
    """Draw a panel for each program, each with its own scale, because only its bars compare."""
    figure: Figure = plt.figure(figsize=(10, 7.2), layout="constrained")
    panels = list(figure.subplots(4, 3).flat)
    for axes, (name, title) in zip(panels, _YOUR_PROGRAM.items(), strict=True):
        _bars(axes, results, titled(name))
        axes.set_title(title, fontsize=9.5)
    for axes in panels[::3]:
        axes.set_yticks(range(len(_RIVALS)), list(_RIVALS.values()))
    figure.suptitle(
        f"Your program, cold, {_REGIONAL_MS} ms from the bucket: seconds (less is better)",
        fontsize=13,
    )
    return figure


def _fastest(results: Results, case: str, rival: str) -> tuple[float, str] | None:
    """Return the length of a bar and its label, or None if the rival was not measured."""
    variants = _VARIANTS.get(rival, (rival,))
    medians = [
        results.median(case, who, _REGIONAL_MS, lambda run: run.outcome.seconds) for who in variants
    ]
    seconds = min((value for value in medians if value is not None), default=None)
    if seconds is not None:
        return seconds, f"{seconds:.1f} s" if seconds >= 1 else f"{seconds:.2f} s"
    if "not finished" in results.absent.get(Key(case, _REGIONAL_MS, rival), ""):
        return LIMIT_SECONDS, f"> {LIMIT_SECONDS:.0f} s"
    return None


def _bars(axes: Axes, results: Results, case: str) -> None:
    """Draw a bar for each rival, labelled with its seconds."""
    longest = 0.0
    for place, rival in enumerate(_RIVALS):
        bar = _fastest(results, case, rival)
        if bar is None:
            continue
        length, label = bar
        longest = max(longest, length)
        axes.barh(place, length, color=_COLOURS[rival], height=0.78)
        axes.text(length, place, f" {label}", va="center", color="#333333")
    axes.set_xlim(0, longest * 1.3 or 1)
    axes.set_ylim(len(_RIVALS) - 0.5, -0.5)
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines["bottom"].set_visible(False)
    axes.grid(visible=False)
