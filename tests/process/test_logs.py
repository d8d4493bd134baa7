"""Tests of the log: its destination, and one printable line for each record."""

from __future__ import annotations

import logging
import os
import re
import socket
import stat
import time
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process import logs
from gcsmux_fs.process.logs import configure_logging, printable
from gcsmux_fs.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

LINE = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z (\w+) ([\w.]+): (.*)")
SETTINGS = Settings(bucket="bucket", mountpoint=Path("/mnt"))


@contextmanager
def configured(settings: Settings, *, detached: bool = False) -> Iterator[None]:
    """Configure the log as the command does, and restore the previous configuration."""
    root = logging.getLogger()
    names = ("gcsmux_fs", "pyfuse3")
    before = root.handlers[:], root.level, logging.raiseExceptions
    for handler in before[0]:
        root.removeHandler(handler)
    try:
        configure_logging(settings, detached=detached)
        yield
    finally:
        logging.captureWarnings(capture=False)
        for handler in root.handlers[:]:
            root.removeHandler(handler)
            handler.close()
        for handler in before[0]:
            root.addHandler(handler)
        root.setLevel(before[1])
        logging.raiseExceptions = before[2]
        for name in names:
            logger = logging.getLogger(name)
            logger.setLevel(logging.NOTSET)
            logger.filters.clear()


@given(st.text())
def test_any_text_becomes_one_printable_line(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert len(shown.splitlines()) <= 1
    shown.encode()


def test_printable_text_of_any_script_stays_unchanged() -> None:
    assert printable("größe 文件 🙂 a b") == "größe 文件 🙂 a b"


@pytest.fixture
def far_east(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Set the time zone to 14 hours ahead of UTC."""
    monkeypatch.setenv("TZ", "UTC-14")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("far_east")
def test_log_times_are_in_utc_in_every_time_zone(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        logging.getLogger("gcsmux_fs").info("now")
    logged = datetime.fromisoformat(path.read_text().split()[0])
    assert abs(logged - datetime.now(tz=UTC)) < timedelta(hours=1)


def test_a_record_is_one_line_in_a_file_with_mode_0600(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        logging.getLogger("gcsmux_fs.mux").info("opened %s", "a\n2030-01-01 ERROR\x1b[31m\udcff")
        try:
            raise ValueError("first\nsecond")
        except ValueError:
            logging.getLogger("gcsmux_fs").exception("failed")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    first, second = path.read_text().splitlines()
    match = LINE.fullmatch(first)
    assert match is not None
    assert match.groups() == (
        "INFO",
        "gcsmux_fs.mux",
        r"opened a\n2030-01-01 ERROR\x1b[31m\udcff",
    )
    assert LINE.fullmatch(second)
    assert r"ValueError: first\nsecond" in second


def test_the_log_continues_in_a_new_file_after_a_rotation(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        logging.getLogger("gcsmux_fs").info("before")
        path.rename(tmp_path / "log.1")
        logging.getLogger("gcsmux_fs").info("after")
    assert "before" in (tmp_path / "log.1").read_text()
    assert "after" in path.read_text()


def test_a_missing_log_folder_loses_lines_but_raises_nothing(
    tmp_path: Path,
) -> None:
    path = tmp_path / "folder" / "log"
    path.parent.mkdir()
    with configured(replace(SETTINGS, log_file=path)):
        path.unlink()
        path.parent.rmdir()
        logging.getLogger("gcsmux_fs").info("lost")
        path.parent.mkdir()
        logging.getLogger("gcsmux_fs").info("after")
    assert [line.split(": ")[1] for line in path.read_text().splitlines()] == ["after"]


def test_the_log_level_does_not_apply_to_libraries(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path, log_level="debug")):
        logging.getLogger("gcsmux_fs.mux").debug("mount")
        logging.getLogger("google.auth").info("library")
    assert [line.split(": ")[1] for line in path.read_text().splitlines()] == ["mount"]


@pytest.mark.parametrize(("level", "lines"), [("info", 0), ("debug", 1)])
def test_a_reply_to_a_killed_program_is_logged_at_debug(
    tmp_path: Path, level: str, lines: int
) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path, log_level=level)):
        logging.getLogger("pyfuse3").error(
            "fuse_read(): fuse_reply_* failed with %s", os.strerror(2)
        )
    assert len(path.read_text().splitlines()) == lines


def test_other_errors_of_pyfuse3_stay_errors(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        logging.getLogger("pyfuse3").error(
            "fuse_read(): fuse_reply_* failed with %s", os.strerror(22)
        )
    assert " ERROR pyfuse3: " in path.read_text()


def test_a_log_file_that_cannot_be_opened_is_refused(tmp_path: Path) -> None:
    with (
        pytest.raises(ConfigError, match=r"--log-file .* cannot be written: Is a directory"),
        configured(replace(SETTINGS, log_file=tmp_path)),
    ):
        pass


def test_a_detached_mount_logs_to_syslog(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "log.socket"
    monkeypatch.setattr(logs, "_SYSLOG_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(os.fspath(path))
        with configured(SETTINGS, detached=True):
            logging.getLogger("gcsmux_fs.mux").info("opened\nagain")
        datagram = receiver.recv(4096).rstrip(b"\0").decode()
    # In the prefix <30>, 30 is the facility daemon (3 << 3) plus the severity info (6).
    assert datagram == f"<30>gcsmux-mount[{os.getpid()}]: INFO gcsmux_fs.mux: opened\\nagain"


def test_a_detached_mount_without_syslog_logs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(logs, "_SYSLOG_SOCKET", tmp_path / "missing")
    with configured(SETTINGS, detached=True):
        logging.getLogger("gcsmux_fs").error("lost")
    assert capsys.readouterr().err == ""


def test_lines_for_the_journal_have_a_level_and_no_time(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with (tmp_path / "journal").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        with configured(SETTINGS):
            logging.getLogger("gcsmux_fs").info("mounted")
        stream.seek(0)
        assert stream.read() == "<6>INFO gcsmux_fs: mounted\n"
