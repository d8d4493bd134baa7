"""The formats of log records: text or JSON, one line for each record.

The keys of a JSON line are those that the logging agent of Google Kubernetes Engine and the Ops
Agent read: `severity`, `message`, and `time` as RFC 3339
(https://cloud.google.com/logging/docs/structured-logging#structured_logging_special_fields). The
agents accept RFC 3339 only under the key `time`; under the key `timestamp` they expect an object.
"""

from __future__ import annotations

import json
import logging
import time
from typing import TYPE_CHECKING

from gcsmux_fs.process.log_storms import storm_note
from gcsmux_fs.process.logs import printable, redacted

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["PRIORITIES", "JsonFormatter", "LineFormatter"]

PRIORITIES = {
    logging.DEBUG: 7,
    logging.INFO: 6,
    logging.WARNING: 4,
    logging.ERROR: 3,
    logging.CRITICAL: 2,
}
"""The priority of syslog(3) for each log level."""


class LineFormatter(logging.Formatter):
    """Formats a record, including its traceback, as one line of text.

    Args:
        with_time: whether the line begins with the time, in UTC.
        with_level: whether the line has the level and the name of the logger.
        with_priority: whether the line begins with a prefix such as `<6>`, from which journald
            reads the priority of a line on stderr (see sd-daemon(3)).
    """

    def __init__(
        self, *, with_time: bool = False, with_level: bool = True, with_priority: bool = False
    ) -> None:
        layout = "%(levelname)s %(name)s: %(message)s" if with_level else "%(message)s"
        super().__init__("%(asctime)s " + layout if with_time else layout)
        self.converter = time.gmtime
        self.default_time_format = "%Y-%m-%dT%H:%M:%S"
        self.default_msec_format = "%s.%03dZ"
        self._with_priority = with_priority

    def format(self, record: logging.LogRecord) -> str:
        """Return the line of a record, without a line break."""
        line = printable(redacted(super().format(record) + storm_note(record)))
        return f"<{PRIORITIES.get(record.levelno, 5)}>{line}" if self._with_priority else line


class JsonFormatter(logging.Formatter):
    """Formats a record as one JSON object in one line.

    `fields` are added to each line, for example the bucket and the mount point.
    """

    def __init__(self, fields: Mapping[str, str]) -> None:
        super().__init__()
        self.converter = time.gmtime
        self._fields = fields

    def format(self, record: logging.LogRecord) -> str:
        """Return the JSON text of a record, in ASCII and without a line break."""
        seconds = self.formatTime(record, "%Y-%m-%dT%H:%M:%S")
        line = {
            "time": f"{seconds}.{int(record.msecs):03d}Z",
            "severity": record.levelname,
            "message": redacted(record.getMessage() + storm_note(record)),
            "logger": record.name,
            **self._fields,
        }
        if record.exc_info:
            line["stack_trace"] = redacted(self.formatException(record.exc_info))
        return json.dumps(line)
