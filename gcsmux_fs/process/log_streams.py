"""Writes log records to stderr without waiting for the program that reads stderr.

In a container, stderr is a pipe to the container engine. If the reader of the pipe stops, the pipe
fills up, and a write that waits would block the thread that serves the kernel, and with it all
programs on the mount. The same happens in a terminal that Ctrl+S has stopped. So a record that
cannot be written within `PATIENCE_SECONDS` is lost and counted, and so are all further records
until stderr can be written again. A reader that is only slower than a burst of lines gets every
line.

stderr is not set to O_NONBLOCK, because other processes may share the pipe or the terminal.
"""

from __future__ import annotations

import logging
import os
import select
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from typing import TextIO

__all__ = ["PATIENCE_SECONDS", "StderrHandler"]

PATIENCE_SECONDS = 0.02
"""Maximum time that one record waits for the reader. A program that copies a full pipe needs less,
and a READ that is this much later does not matter, because it happens once until the reader stops
again."""


class StderrHandler(logging.Handler):
    """Writes each record as one line to the file of `stream`, or counts it as lost."""

    def __init__(self, stream: TextIO) -> None:
        super().__init__()
        self._stream = stream
        #: Number of records that could not be written.
        self.lost = 0
        # Whether the last record was lost.
        self._is_stuck = False

    def emit(self, record: logging.LogRecord) -> None:
        """Write a record, or count it as lost."""
        try:
            self._write(f"{self.format(record)}\n".encode(errors="backslashreplace"))
        except OSError:
            self.lost += 1
        except Exception:
            # As in every handler of the module logging: an error of the log stops no caller.
            self.handleError(record)

    def _write(self, line: bytes) -> None:
        """Write a line in parts, each of which a pipe takes at once if it is writable.

        Raises:
            OSError: the rest of the line cannot be written in time.
        """
        descriptor = self._stream.fileno()
        poll = select.poll()
        poll.register(descriptor, select.POLLOUT)
        for start in range(0, len(line), select.PIPE_BUF):
            if not poll.poll(0 if self._is_stuck else PATIENCE_SECONDS * 1000):
                self._is_stuck = True
                raise BlockingIOError
            # A pipe that poll(2) calls writable has room for PIPE_BUF bytes (pipe(7)).
            os.write(descriptor, line[start : start + select.PIPE_BUF])
        self._is_stuck = False
