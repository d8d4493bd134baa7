"""A mount that records the ranges that its block cache requests.

    python -m benchmarks.recorded_mount RECORD BUCKET MOUNTPOINT [OPTION...]

RECORD gets one line for each request: seconds, name and size of the object, offset, length.
"""

from __future__ import annotations

import json
import sys
import time
from typing import TYPE_CHECKING, Any, TextIO

from gcsmux_fs.cli import mount_command
from gcsmux_fs.connected_service import ConnectedService

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.errors import StorageError
    from gcsmux_fs.model.values import FinalContent, ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket

__all__ = ["RecordedSource"]


class RecordedSource:
    """A range source that writes a line for each request."""

    def __init__(self, source: RangeSource, output: TextIO) -> None:
        self._source = source
        self._output = output

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        """Request a range; see `RangeSource.request`."""
        size = 0 if final is None else final.size
        record = [time.monotonic(), key.name, size, offset, length]
        self._output.write(json.dumps(record) + "\n")
        return self._source.request(key, offset, length, done, final=final)


def _record_all(output: TextIO) -> None:
    new_read_context = ConnectedService.new_read_context

    def recorded(service: ConnectedService, streams: RangeSource, **options: Any) -> Any:
        return new_read_context(service, RecordedSource(streams, output), **options)

    ConnectedService.new_read_context = recorded  # type: ignore[method-assign,assignment]


if __name__ == "__main__":
    with open(sys.argv.pop(1), "w") as output:  # noqa: PTH123
        _record_all(output)
        mount_command()
