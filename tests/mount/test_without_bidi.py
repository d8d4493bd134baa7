"""If the service does not have BidiReadObject, programs read the same bytes with ReadObject."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.emulator.faults import ChunkWrongCrc, InjectionPoint, Status
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.support import programs
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from tests.support.harness import EmulatorProcess, MountProcess, NewMount

pytestmark = pytest.mark.mount

LOSS = "BidiReadObject unavailable (UNIMPLEMENTED: "
WITHOUT_STREAMS = Rule(
    Status(StatusCode.UNIMPLEMENTED), method="BidiReadObject", times=FOR_EVER, name="without"
)


def check_logged_once(mounted: MountProcess) -> None:
    """Check that the mount has logged once that BidiReadObject is unavailable.

    It must not have logged that BidiReadObject is available again.
    """
    assert mounted.log.count(LOSS) == 1
    assert mounted.log.count("BidiReadObject available again") == 0


def test_every_program_reads_the_same_bytes(emulator: EmulatorProcess, mount: NewMount) -> None:
    sizes = (0, 1, 4095, 300_000, 9 * MIB + 7)
    contents = {f"file-{tag}": programs.tagged(tag, 0, size) for tag, size in enumerate(sizes)}
    for name, content in contents.items():
        emulator.place(name, content)
    emulator.inject(WITHOUT_STREAMS)
    with mount(expected_warnings=[LOSS]) as mounted, mounted.program() as program:
        for name, content in contents.items():
            assert program.call(programs.read_whole, f"{mounted.path}/{name}") == content
        metrics = mounted.statistics()
        assert (metrics["bidi_missing"], metrics["bidi_losses"]) == (1, 1)
        asked = emulator.statistics()
        assert metrics["read_object_requests"] == asked.requests["ReadObject"] > 0
        assert asked.requests["BidiReadObject"] == 1
        assert metrics["bytes_received"] == sum(sizes)
        assert metrics["read_object_open"] == 0
        check_logged_once(mounted)


def test_many_readers_while_reads_are_cut_and_corrupted(
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
    corrupted = Rule(
        ChunkWrongCrc(), method="ReadObject", times=20, probability=0.1, name="corrupted"
    )
    emulator.inject(WITHOUT_STREAMS, cut, refused, corrupted, seed=3)
    options = ["--memory", "16MiB"]
    with (
        mount(*options, expected_warnings=[LOSS]) as mounted,
        mounted.program() as program,
    ):
        paths = [(f"{mounted.path}/{name}", tag, size) for name, tag, size in files]
        assert program.call(programs.random_reads, paths, 32, 10, 2) == (1280, 0)
        metrics = mounted.statistics()
        assert metrics["checksum_failures"] > 0
        assert metrics["ranges_resumed"] > 0
        check_logged_once(mounted)
    fired = emulator.statistics().faults
    assert {"cut", "corrupted"} <= fired.keys()


def test_an_overwritten_object_is_estale_and_never_mixed(
    emulator: EmulatorProcess, mount: NewMount
) -> None:
    emulator.place("object", programs.tagged(1, 0, 8 * MIB))
    emulator.inject(WITHOUT_STREAMS)
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
