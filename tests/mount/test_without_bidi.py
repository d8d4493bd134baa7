"""A service without BidiReadObject: programs read the same bytes, by ReadObject."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import ChunkWrongCrc, InjectionPoint, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode

from . import programs

if TYPE_CHECKING:
    from .harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

MIB = 1024 * 1024
LOSS = "BidiReadObject is not to be had (UNIMPLEMENTED: "
WITHOUT_STREAMS = Rule(
    Status(StatusCode.UNIMPLEMENTED), method="BidiReadObject", times=FOR_EVER, name="without"
)


def check_said_once(mounted: MountProcess) -> None:
    assert mounted.log.count(LOSS) == 1
    assert mounted.log.count("BidiReadObject is back") == 0


def test_every_program_reads_the_same_bytes(emulator: EmulatorProcess, mount: NewMount) -> None:
    sizes = (0, 1, 4095, 300_000, 9 * MIB + 7)
    contents = {f"file-{tag}": programs.tagged(tag, 0, size) for tag, size in enumerate(sizes)}
    for name, content in contents.items():
        emulator.place(name, content)
    emulator.order(WITHOUT_STREAMS)
    with mount(expected_warnings=[LOSS]) as mounted, mounted.program() as program:
        for name, content in contents.items():
            assert program.call(programs.read_whole, f"{mounted.path}/{name}") == content
        found = mounted.statistics()
        assert (found["bidi_missing"], found["bidi_losses"]) == (1, 1)
        asked = emulator.statistics()
        assert found["read_object_requests"] == asked.requests["ReadObject"] > 0
        assert asked.requests["BidiReadObject"] == 1
        assert found["bytes_received"] == sum(sizes)
        assert found["read_object_open"] == 0
        check_said_once(mounted)


def test_many_readers_while_reads_are_cut_and_spoilt(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    files = [(f"file-{tag}", tag, 8 * MIB) for tag in range(4)]
    for name, tag, size in files:
        emulator.place(name, programs.tagged(tag, 0, size))
    cut = Rule(
        Status(StatusCode.UNAVAILABLE),
        method="ReadObject",
        at=InjectionPoint.CONTENT,
        after_bytes=70_000,
        times=FOR_EVER,
        probability=0.3,
        name="cut",
    )
    refused = Rule(Status(StatusCode.INTERNAL), method="ReadObject", times=20, probability=0.1)
    spoilt = Rule(ChunkWrongCrc(), method="ReadObject", times=20, probability=0.1, name="spoilt")
    emulator.order(WITHOUT_STREAMS, cut, refused, spoilt, seed=3)
    options = ["--memory", "16MiB"]
    with mount(*options, expected_warnings=[LOSS]) as mounted, mounted.program() as program:
        paths = [(f"{mounted.path}/{name}", tag, size) for name, tag, size in files]
        assert program.call(programs.random_reads, paths, 32, 10, 2) == (1280, 0)
        found = mounted.statistics()
        assert found["checksum_failures"] > 0
        assert found["ranges_resumed"] > 0
        check_said_once(mounted)
    fired = emulator.statistics().faults
    assert {"cut", "spoilt"} <= fired.keys()


def test_an_object_that_is_overwritten_is_stale_and_never_mixed(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, 8 * MIB))
    emulator.order(WITHOUT_STREAMS)
    with (
        mount("--read-ahead", "0", expected_warnings=[LOSS, "read: ESTALE"]) as mounted,
        mounted.program() as program,
    ):
        descriptor = program.call(os.open, f"{mounted.path}/object", os.O_RDONLY)
        assert program.call(os.pread, descriptor, 4096, 0) == programs.tagged(1, 0, 4096)
        emulator.place("object", programs.tagged(2, 0, 8 * MIB))
        with pytest.raises(OSError, match="Errno") as raised:
            program.call(os.pread, descriptor, 4096, 6 * MIB)
        assert raised.value.errno == errno.ESTALE
