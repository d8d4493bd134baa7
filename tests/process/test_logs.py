"""Tests of the log: its destination, and one printable line for each record."""

from __future__ import annotations

import fcntl
import json
import logging
import os
import re
import socket
import stat
import struct
import threading
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
from gcsmux_fs.process import log_destinations, log_streams
from gcsmux_fs.process.log_destinations import configure_logging, lost_log_lines, reopen_log_file
from gcsmux_fs.process.log_storms import BURST_LINES, INTERVAL_SECONDS, UNLIMITED, kind_of
from gcsmux_fs.process.logs import log_level, printable, set_log_level
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
    monkeypatch.setattr(log_destinations, "_SYSLOG_SOCKET", path)
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
    monkeypatch.setattr(log_destinations, "_SYSLOG_SOCKET", tmp_path / "missing")
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


def journal_fields(datagram: bytes) -> dict[str, str]:
    """Decode the fields of a datagram of the journal's native protocol."""
    fields = {}
    while datagram:
        name, _, datagram = datagram.partition(b"\n")
        (size,) = struct.unpack_from("<Q", datagram)
        fields[name.decode()] = datagram[8 : 8 + size].decode()
        datagram = datagram[8 + size + 1 :]
    return fields


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The socket of a journal, from which the test reads records."""
    path = tmp_path / "journal.socket"
    monkeypatch.setattr(log_destinations, "_JOURNAL_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.settimeout(5)
        receiver.bind(os.fspath(path))
        yield receiver


def test_a_detached_mount_logs_to_the_journal_with_priority_and_fields(
    journal: socket.socket,
) -> None:
    with configured(SETTINGS, detached=True):
        logging.getLogger("gcsmux_fs.mux").warning("lost %s", "a\nb token: ya29.secretsecret")
    fields = journal_fields(journal.recv(65536))
    assert (
        fields.items()
        >= {
            "MESSAGE": r"lost a\nb token: [secret]",
            "PRIORITY": "4",
            "SYSLOG_IDENTIFIER": "gcsmux-mount",
            "LOGGER": "gcsmux_fs.mux",
            "CODE_FUNC": "test_a_detached_mount_logs_to_the_journal_with_priority_and_fields",
            "GCSMUX_BUCKET": "bucket",
            "GCSMUX_MOUNTPOINT": "/mnt",
        }.items()
    )


def test_a_record_too_large_for_a_datagram_reaches_the_journal_in_a_memory_file(
    journal: socket.socket,
) -> None:
    text = "x" * 1_000_000
    with configured(SETTINGS, detached=True):
        logging.getLogger("gcsmux_fs").error("%s", text)
    datagram, descriptors, _, _ = socket.recv_fds(journal, 65536, 1)
    with os.fdopen(descriptors[0], "rb") as file:
        file.seek(0)
        fields = journal_fields(file.read())
    assert (datagram, fields["MESSAGE"], fields["PRIORITY"]) == (b"", text, "3")


def test_a_journal_that_does_not_read_blocks_no_caller(journal: socket.socket) -> None:
    with configured(SETTINGS, detached=True):
        for number in range(2000):  # more records than the socket's queue holds
            logging.getLogger("gcsmux_fs").info("%d", number, extra=UNLIMITED)
        assert lost_log_lines() > 1000


def test_a_reader_of_stderr_that_stops_blocks_no_caller(monkeypatch: pytest.MonkeyPatch) -> None:
    reading, writing = os.pipe()
    size = fcntl.fcntl(reading, fcntl.F_GETPIPE_SZ)
    with os.fdopen(reading, "rb") as reader, os.fdopen(writing, "w") as stderr:
        monkeypatch.setattr("sys.stderr", stderr)
        with configured(SETTINGS):
            log = logging.getLogger("gcsmux_fs")
            log.info("x" * 10_000, extra=UNLIMITED)
            for number in range(size // 1000):
                log.info("%d %s", number, "y" * 1000, extra=UNLIMITED)
            lost = lost_log_lines()
            assert lost > 5
            first = reader.readline()
            assert first.endswith(b"x\n")
            assert len(first) > 10_000
            log.info("the reader goes on", extra=UNLIMITED)
            assert lost_log_lines() == lost
        stderr.close()
        assert reader.read().endswith(b"the reader goes on\n")


def test_a_reader_of_stderr_that_is_slower_than_a_burst_gets_every_line(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(log_streams, "PATIENCE_SECONDS", 20)
    reading, writing = os.pipe()
    read: list[bytes] = []
    with os.fdopen(reading, "rb", buffering=0) as reader, os.fdopen(writing, "w") as stderr:
        fcntl.fcntl(reading, fcntl.F_SETPIPE_SZ, 4096)
        thread = threading.Thread(target=lambda: read.extend(iter(lambda: reader.read(512), b"")))
        thread.start()
        monkeypatch.setattr("sys.stderr", stderr)
        with configured(SETTINGS):
            for number in range(500):
                logging.getLogger("gcsmux_fs").info("%d %s", number, "y" * 100, extra=UNLIMITED)
            assert lost_log_lines() == 0
        stderr.close()
        thread.join(20)
    assert b"".join(read).count(b"\n") == 500


def test_in_the_foreground_stderr_that_is_the_journal_gets_fields_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, journal: socket.socket
) -> None:
    with (tmp_path / "stderr").open("w+") as stream:
        status = os.fstat(stream.fileno())
        monkeypatch.setattr("sys.stderr", stream)
        monkeypatch.setenv("JOURNAL_STREAM", f"{status.st_dev}:{status.st_ino}")
        with configured(SETTINGS):
            logging.getLogger("gcsmux_fs").info("mounted")
        stream.seek(0)
        assert stream.read() == ""
    assert journal_fields(journal.recv(65536))["MESSAGE"] == "mounted"


def test_a_json_line_has_the_keys_of_cloud_logging(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path, log_format="json")):
        try:
            raise ValueError("password=letmein\nsecond")
        except ValueError:
            logging.getLogger("gcsmux_fs.mux").exception("failed %s", "a\nb\x1b ya29.secretsecret")
    (line,) = path.read_bytes().splitlines()
    assert line.isascii()
    entry = json.loads(line)
    assert set(entry) == {
        *("time", "severity", "message", "logger", "bucket", "mountpoint", "stack_trace")
    }
    assert entry["severity"] == "ERROR"
    assert entry["message"] == "failed a\nb\x1b [secret]"
    assert (entry["bucket"], entry["mountpoint"]) == ("bucket", "/mnt")
    assert "letmein" not in entry["stack_trace"]
    assert "ValueError: password=[secret]" in entry["stack_trace"]
    written = datetime.fromisoformat(entry["time"])
    assert abs(written - datetime.now(tz=UTC)) < timedelta(hours=1)


def test_a_storm_of_one_line_is_limited_and_counted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    logger = logging.getLogger("gcsmux_fs")

    def fail(seconds: float, number: int) -> None:
        record = logger.makeRecord("gcsmux_fs", logging.WARNING, "guard", 7, "%d", (number,), None)
        record.created = seconds
        logger.handle(record)

    with configured(replace(SETTINGS, log_file=path)):
        for number in range(BURST_LINES + 50):
            fail(1000.0, number)
        fail(1000.0 + INTERVAL_SECONDS, 7777)
        for _ in range(BURST_LINES + 50):
            logger.info("report", extra=UNLIMITED)
        logger.info("of another place")
        assert lost_log_lines() == 50
    lines = [line.partition("gcsmux_fs: ")[2] for line in path.read_text().splitlines()]
    failures = [line for line in lines if line[0].isdigit()]
    assert failures[:2] == ["0", "1"]
    assert failures[-2].startswith(f"{BURST_LINES - 1} (of further lines like this one")
    assert failures[-1] == "7777 (50 similar lines were not logged)"
    assert len(failures) == BURST_LINES + 1
    assert lines.count("report") == BURST_LINES + 50
    assert lines[-1] == "of another place"


def test_a_storm_of_one_kind_does_not_suppress_others(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        for kind in ("read", "lookup"):
            for _ in range(BURST_LINES + 10):
                logging.getLogger("gcsmux_fs").info(kind, extra=kind_of(kind))
    words = [line.split(": ")[1].split(" (")[0] for line in path.read_text().splitlines()]
    assert words == ["read"] * BURST_LINES + ["lookup"] * BURST_LINES


def test_every_debug_line_is_logged(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path, log_level="debug")):
        for _ in range(BURST_LINES * 2):
            logging.getLogger("gcsmux_fs").debug("line")
    assert len(path.read_text().splitlines()) == BURST_LINES * 2


def test_the_log_level_changes_at_run_time(tmp_path: Path) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        assert log_level() == "info"
        logging.getLogger("gcsmux_fs.mux").debug("before")
        set_log_level("debug")
        assert log_level() == "debug"
        logging.getLogger("gcsmux_fs.mux").debug("after")
        with pytest.raises(ValueError, match="LOUD"):
            set_log_level("loud")
    assert [line.split(": ")[1] for line in path.read_text().splitlines()] == ["after"]


def test_the_log_file_is_opened_again_also_for_stderr(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "log"
    with configured(replace(SETTINGS, log_file=path)):
        with path.open("a") as stderr:
            monkeypatch.setattr("sys.stderr", stderr)
            path.rename(tmp_path / "log.1")
            reopen_log_file()
            assert path.read_text() == ""
            stderr.write("from a library\n")
        logging.getLogger("gcsmux_fs").info("after")
    assert path.read_text().startswith("from a library\n")
    assert "after" in path.read_text()


def test_a_missing_socket_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(log_destinations, "_JOURNAL_SOCKET", tmp_path / "missing")
    with (
        pytest.raises(ConfigError, match=r"--log-to journal needs the socket .*/missing"),
        configured(replace(SETTINGS, log_to="journal")),
    ):
        pass
