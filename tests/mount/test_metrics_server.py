"""The metrics of a real mount: docs/METRICS.md and the dashboard match them; the health checks."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families as parse_text

from tests.support.emulator_process import COMMANDS

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from prometheus_client import Metric

    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

ROOT = Path(__file__).parents[2]
DASHBOARD = ROOT / "docs/dashboards/gcsmux.json"
LISTEN = ("--metrics-listen", "127.0.0.1:0")
# Only a mount that uses credentials has these metrics. The mounts of this test are anonymous.
WITH_CREDENTIALS = "gcsmux_gcs_token_"


class Row(NamedTuple):
    """A row of a table of docs/METRICS.md."""

    name: str
    kind: str
    labels: str
    meaning: str

    def __str__(self) -> str:
        return f"| `{self.name}` | {self.kind} | {self.labels} | {self.meaning} |"


def fetch(mounted: MountProcess, path: str, accept: str = "*/*") -> tuple[int, str]:
    """Return the status and the body of a page of the mount."""
    (address,) = re.findall(r"serving metrics on (http://\S+)/metrics", mounted.log)
    request = urllib.request.Request(f"{address}{path}", headers={"Accept": accept})
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def shown_rows(families: Iterable[Metric]) -> Iterator[Row]:
    """Return the row that describes each metric on the page."""
    for family in families:
        name = f"{family.name}_total" if family.type == "counter" else family.name
        labels = {label for sample in family.samples for label in sample.labels} - {"le"}
        yield Row(name, family.type, ", ".join(sorted(labels)), family.documentation)


def documented_rows() -> list[Row]:
    """Return the rows of all tables of docs/METRICS.md that describe metrics."""
    pattern = re.compile(r"\| `([a-z_]+)` \| (counter|gauge|histogram) \| ([a-z0-9, ]*) \| (.*) \|")
    document = (ROOT / "docs/METRICS.md").read_text()
    return [Row(*match) for line in document.splitlines() for match in pattern.findall(line)]


def expressions(panel: object) -> Iterator[str]:
    """Return all PromQL expressions inside of a panel, a list of panels or the whole dashboard."""
    if isinstance(panel, dict):
        for key, value in panel.items():
            if key in ("expr", "query") and isinstance(value, str) and "gcsmux_" in value:
                yield value
            yield from expressions(value)
    elif isinstance(panel, list):
        for each in panel:
            yield from expressions(each)


def unknown_parts(expression: str, labels_of: dict[str, set[str]]) -> list[str]:
    """Return the metrics and the labels of an expression that a mount does not have."""
    unknown = []
    labels: set[str] = {"job", "instance"}
    for name, matchers in re.findall(r"\b((?:gcsmux|process)_\w+)(?:\{([^}]*)\})?", expression):
        if name not in labels_of:
            unknown.append(name)
            continue
        labels |= labels_of[name]
        named = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)", matchers))
        unknown += sorted(named - labels_of[name] - {"job", "instance"})
    for group in re.findall(r"\b(?:by|without|on|group_left|ignoring)\s*\(([^)]*)\)", expression):
        # The labels of `gcsmux_mount_info` are added by `group_left`.
        used = {label.strip() for label in group.split(",") if label.strip()}
        unknown += sorted(used - labels - labels_of["gcsmux_mount_info"])
    return unknown


def test_the_document_and_the_dashboard_match_a_mount_under_load(
    emulator: EmulatorProcess, mount: NewMount, folder: Path
) -> None:
    for number in range(3):
        emulator.place(f"folder/file-{number}", b"x" * 300_000)
    emulator.cut_streams(100_000, times=1)
    # Only a mount with a cache on disk, a cache of names and a subscription has their metrics.
    cache = ("--cache-dir", str(folder / "cache"), "--cache-listings", "--offline")
    with mount(*LISTEN, *cache, "--changes", emulator.subscribe()) as mounted:
        assert mounted.run("sh", "-c", "cat folder/* | wc -c; ls absent").stdout.split() == [
            b"900000"
        ]
        no_attribute = mounted.run(sys.executable, "-c", "import os; os.getxattr('.', 'user.none')")
        assert b"No data available" in no_attribute.stderr
        assert fetch(mounted, "/healthz") == (200, "the mount is alive\n")
        assert fetch(mounted, "/readyz") == (200, "the mount is ready\n")
        status, text = fetch(mounted, "/metrics")
        assert status == 200
        _, openmetrics = fetch(mounted, "/metrics", "application/openmetrics-text;version=1.0.0")

    families = list(parse_text(text))
    assert {family.name.removesuffix("_info") for family in families} == {
        family.name
        for family in parse_openmetrics(openmetrics)  # type: ignore[no-untyped-call]
    }
    values = {
        (sample.name, *sorted(sample.labels.values())): sample.value
        for family in families
        for sample in family.samples
    }
    assert values["gcsmux_fs_read_bytes_total",] == 900_000
    assert values["gcsmux_fs_op_seconds_count", "open"] == 3
    assert values["gcsmux_gcs_requests_total", "BidiReadObject", "UNAVAILABLE"] == 1
    assert values["gcsmux_stream_losses_total", "unavailable"] == 1
    assert values["gcsmux_fs_op_errors_total", "ENODATA", "getxattr"] == 1
    assert values["gcsmux_metric_failures_total",] == 0

    documented, shown = documented_rows(), list(shown_rows(families))
    undocumented = "\n".join(str(row) for row in shown if row not in documented)
    assert not undocumented, f"docs/METRICS.md does not have these rows:\n{undocumented}"
    surplus = {row.name for row in documented} - {row.name for row in shown}
    assert {name for name in surplus if not name.startswith(WITH_CREDENTIALS)} == set()

    labels_of = {
        sample.name: set(sample.labels) for family in families for sample in family.samples
    }
    # A counter whose labels appear with the first event has no sample yet.
    labels_of |= {f"{each.name}_total": set() for each in families if not each.samples}
    found = list(expressions(json.loads(DASHBOARD.read_text())))
    assert len(found) > 20
    assert {each: bad for each in found if (bad := unknown_parts(each, labels_of))} == {}


def test_a_port_in_use_ends_the_start_with_one_sentence(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    with mount(*LISTEN) as mounted:
        (address,) = re.findall(r"serving metrics on http://(\S+)/metrics", mounted.log)
        folder = mounted.folder / "other"
        folder.mkdir()
        done = subprocess.run(
            [
                *(COMMANDS / "gcsmux-mount", "-f", "--metrics-listen", address),
                *("--plaintext", "--anonymous", "--endpoint", emulator.endpoint),
                *(emulator.bucket_name, folder),
            ],
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert done.returncode == 78  # A restart of the mount would not help.
    reason = f"gcsmux-mount: --metrics-listen {address} cannot be used: Address already in use:"
    assert reason in done.stderr
