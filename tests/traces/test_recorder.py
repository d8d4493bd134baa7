"""Tests of the recorder of traces."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import Any

import pytest

from tests.support.sizes import KIB, MIB
from tests.support.trace_recorder import Recorder, trace_of
from tests.traces.trace_file import Close, Open, Read


def sent(thread: int, offset: int, at: float, answered: float) -> dict[str, Any]:
    return {
        "kind": "read",
        "file": 1,
        "offset": offset,
        "length": 4096,
        "thread": thread,
        "sent": at,
        "answered": answered,
    }


def test_a_read_waits_for_the_answers_that_its_thread_got_before() -> None:
    opened = {"kind": "open", "file": 1, "object": "a", "size": 99, "thread": 70}
    record = [
        {**opened, "sent": 0.0, "answered": 0.0},
        sent(70, 0, at=0.001, answered=0.021),
        sent(70, 4096, at=0.001, answered=0.022),
        sent(71, 8192, at=0.002, answered=0.0225),
        sent(70, 12288, at=0.023, answered=0.043),
        # This thread has waited for bytes that another thread had asked for.
        sent(71, 16384, at=0.044, answered=0.064),
        {"kind": "close", "file": 1},
    ]
    trace = trace_of(record, "two_threads", 128 * KIB)
    assert trace.program == "two threads"
    assert trace.objects == {"a": 99}
    assert trace.events == [
        Open(1, "a", 1),
        Read(1, 0, 4096, 1, (0,)),
        Read(1, 4096, 4096, 1),
        Read(1, 8192, 4096, 2, (0,)),
        Read(1, 12288, 4096, 1, (1, 2)),
        Read(1, 16384, 4096, 2, (3, 4)),
        Close(1),
    ]


@pytest.mark.mount
@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount without a helper")
def test_the_recorder_records_the_reads_of_a_program(tmp_path: Path) -> None:
    trace = Recorder(Path(sys.executable), tmp_path).record("interleaved_one_descriptor", MIB)
    reads = [event for event in trace.events if isinstance(event, Read)]
    assert sorted((read.offset, read.length) for read in reads) == [
        (offset, MIB) for offset in range(0, 40 * MIB, MIB)
    ]
    assert len({read.thread for read in reads}) > 1
