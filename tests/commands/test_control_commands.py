"""Tests of the subcommands that ask a mount: answers of other versions and of hostile servers."""

from __future__ import annotations

import json
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from gcsmux_fs.commands import forget, gcsmux, list_mounts, mount_argument, warm
from gcsmux_fs.control.client import NoAnswer
from tests.control.served import MOUNT

if TYPE_CHECKING:
    from gcsmux_fs.control.protocol import Json

ESCAPE = "\x1b[2J"
STATUS: Json = {
    "version": f"9{ESCAPE}",
    "pid": 5,
    "user_id": 0,
    "source": "gs://bucket",
    "mountpoint": "/mnt/data",
    "uptime_seconds": 90_061.5,
    "loop_ages_seconds": {"trio": 0.1, "asyncio": 70.2},
    "healthy": False,
    "log_level": "info",
}
STREAM: Json = {
    "object": f"a{ESCAPE}",
    "generation": 7,
    "state": "open",
    "age_seconds": 61.0,
    "ranges_in_flight": 2,
    "ranges_unsent": 1,
    "bytes_received": 2048,
    "reopens": 3,
    "last_error": "lost",
}


class FakeMount:
    """A fake of the control client of the only mount, with a prepared answer."""

    process = 5

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.answer: Json = {}
        self.error: Exception | None = None
        self.asked: list[tuple[str, Json | None]] = []
        for module in (mount_argument, list_mounts, forget, warm):
            monkeypatch.setattr(module, "control_client", lambda *_: nullcontext(self))
        monkeypatch.setattr(mount_argument, "only_mount", lambda: MOUNT)
        monkeypatch.setattr(list_mounts, "mount_table", lambda: (MOUNT,))
        for module in (forget, warm):
            monkeypatch.setattr(module, "given_paths", lambda *_: [(MOUNT, ["a", "b"])])

    def ask(self, command: str, arguments: Json | None = None, _: Any = None) -> Json:
        self.asked.append((command, arguments))
        if self.error is not None:
            raise self.error
        return self.answer


@pytest.fixture
def mount(monkeypatch: pytest.MonkeyPatch) -> FakeMount:
    return FakeMount(monkeypatch)


@pytest.mark.parametrize(
    "command", ["stats", "streams", "log-level", "reload", "forget a", "warm a"]
)
@pytest.mark.parametrize("answer", [{}, {"metrics": 5, "message": [], "bytes": "x", "level": 1}])
def test_an_answer_in_an_unknown_form_is_one_sentence(
    mount: FakeMount, capsys: pytest.CaptureFixture[str], command: str, answer: Json
) -> None:
    mount.answer = answer
    assert gcsmux.run(command.split()) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("gcsmux: the mount answered in an unknown form")


def test_the_text_of_a_hostile_server_cannot_control_the_terminal(
    mount: FakeMount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.answer = {
        **STATUS,
        "metrics": [],
        "streams": [STREAM],
        "level": ESCAPE,
        "message": ESCAPE,
        "bytes": 5,
        "failures": [ESCAPE],
    }
    for command in ("list", "stats", "streams", "log-level", "reload", "forget a"):
        gcsmux.run(command.split())
        output = capsys.readouterr()
        assert "\\x1b[2J" in output.out
        assert "\x1b" not in output.out + output.err


def test_stats_show_which_loop_is_blocked(
    mount: FakeMount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.answer = {**STATUS, "metrics": []}
    assert gcsmux.run(["stats"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "gs://bucket on /mnt/data"
    assert "process 5 of user 0, up 1 d 1 h, log level info" in lines[1]
    assert lines[2].endswith("programs may wait: asyncio for 70 s")


def test_streams_are_a_table(mount: FakeMount, capsys: pytest.CaptureFixture[str]) -> None:
    mount.answer = {**STATUS, "streams": [STREAM]}
    assert gcsmux.run(["streams"]) == 0
    heading, row = capsys.readouterr().out.splitlines()
    assert heading.split()[:3] == ["STATE", "AGE", "IN"]
    assert row.split()[:3] == ["open", "1", "min"]
    assert row.endswith("a\\x1b[2J#7  (lost)")
    mount.answer = {**STATUS, "streams": []}
    assert gcsmux.run(["streams"]) == 0
    assert capsys.readouterr() == ("", "No stream is open.\n")


def test_list_shows_mounts_that_do_not_answer(
    mount: FakeMount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.error = NoAnswer("the process 5 of /mnt/data is stopped.")
    assert gcsmux.run(["list"]) == 0
    assert capsys.readouterr().out == (
        "gs://bucket on /mnt/data (user 0, process 5): not answering, the process 5 of /mnt/data is"
        " stopped.\n"
    )
    assert gcsmux.run(["list", "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert (shown["pid"], shown["health"], shown["version"]) == (5, "not answering", None)


@pytest.mark.parametrize(
    ("arguments", "asked"),
    [
        (["log-level"], {}),
        (["log-level", "debug"], {"level": "debug"}),
        (["log-level", "DEBUG"], {"level": "debug"}),
    ],
)
def test_the_mount_point_of_log_level_may_be_left_out(
    mount: FakeMount, arguments: list[str], asked: Json
) -> None:
    mount.answer = {"level": "debug", "before": "info"}
    assert gcsmux.run(arguments) == 0
    assert mount.asked == [("log-level", asked)]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ["loud"],
            "'loud' is no log level and in no mount: write one of debug, info,",
        ),
        (["/nowhere"], "/nowhere is in no mount of gcsmux-mount"),
        (["/mnt/data", "loud"], "'loud' is not one of debug, info, warning, error."),
    ],
)
def test_a_mistyped_log_level_is_refused(
    mount: FakeMount, capsys: pytest.CaptureFixture[str], arguments: list[str], message: str
) -> None:
    assert gcsmux.run(["log-level", *arguments]) == 2
    assert capsys.readouterr().err.startswith(f"gcsmux: {message}")
    assert mount.asked == []


def test_forget_reports_paths_that_no_object_can_have(
    mount: FakeMount, capsys: pytest.CaptureFixture[str]
) -> None:
    mount.answer = {"bytes": 0, "message": "done.", "failures": ["a: no such file or directory"]}
    assert gcsmux.run(["forget", "/mnt/data/a"]) == 1
    output = capsys.readouterr()
    assert output.err == "gcsmux forget: a: no such file or directory\n"
    assert output.out == "/mnt/data: dropped the names and 0 bytes; done.\n"
    assert mount.asked == [("forget", {"paths": ["a", "b"]})]


def test_warm_asks_twice_and_adds_failures(
    mount: FakeMount, capsys: pytest.CaptureFixture[str]
) -> None:
    counts = {"files": 2, "bytes": 10, "files_done": 1, "bytes_done": 5, "failed": 1, "charge": 9}
    mount.answer = {**counts, "failures": ["a: away"], "capacity_bytes": 100}
    assert gcsmux.run(["warm", "/mnt/data/a"]) == 1
    output = capsys.readouterr()
    assert output.err == "gcsmux warm: a: away\n"
    assert output.out == "/mnt/data: 1 of 2 files cached, 5 bytes\n"
    assert [arguments for _, arguments in mount.asked] == [
        {"paths": ["a", "b"], "dry_run": True},
        {"paths": ["a", "b"], "partial": False},
    ]
