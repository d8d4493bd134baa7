"""Where rows are played: one emulator with a relay, mounts of it, and a program on each mount."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from tests.mount.harness import EmulatorProcess, MountProcess, Program, wait_until
from tests.mount.tls import (
    Service,
    access_token,
    certificate,
    key_file,
    tls_relay,
    token_server,
)
from tests.reliability import readers
from tests.reliability.readers import Truth
from tests.reliability.rows import After, Reader

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.emulator.injection.rules import Rule
    from tests.reliability.readers import Seen
    from tests.reliability.rows import MountKind, Row

__all__ = ["Outcome", "Stage"]

# What is asked for after each row, to see that the mount still answers.
_CONTROL = b"everything else goes on"
_LOG_LEVELS_TO_EXPLAIN = (" WARNING ", " ERROR ", " CRITICAL ")
# Of a name or an object: mostly these are answers, which the log tells at a level below.
_NOT_LOGGED = ("ENOENT", "ESTALE")
_READERS: dict[Reader, Callable[[str, Truth], Seen]] = {
    Reader.SEQUENTIAL: readers.read_sequentially,
    Reader.SITTINGS: readers.read_in_two_sittings,
    Reader.RANDOM: readers.read_at_random,
    Reader.NAMES: readers.look_around,
    Reader.MANY: readers.list_many,
}


@dataclass(frozen=True)
class Outcome:
    """What came of a row: what the reader saw, how much was asked, and what moved."""

    seen: Seen
    requests: int
    fired: dict[str, int]
    counted: dict[str, int]


@dataclass
class _Mounted:
    """A mount with its program, for many rows or one."""

    process: MountProcess
    program: Program
    exits: contextlib.ExitStack

    def log_lines(self) -> list[str]:
        return self.process.log.splitlines()

    def call(self, reader: Reader, folder: str, truth: Truth) -> Seen:
        return self.program.call(_READERS[reader], f"{self.process.path}/{folder}", truth)


@dataclass
class Stage:
    """See the module's text; a row that fails takes its mount with it."""

    folder: Path
    emulator: EmulatorProcess = field(init=False)
    _mounts: dict[MountKind, _Mounted] = field(default_factory=dict)
    _begun: int = 0
    _rows: int = 0

    def __enter__(self) -> Self:
        self.emulator = EmulatorProcess(self.folder / "buckets", relay=True)
        self.emulator.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            while self._mounts:
                _, mounted = self._mounts.popitem()
                mounted.exits.close()
            wait_until(lambda: self.emulator.statistics().streams_open == 0, "no stream")
        finally:
            self.emulator.__exit__(*error)
        assert self.emulator.log == ""

    def play(self, row: Row) -> Outcome:
        """Have a row happen, check what holds for all of them, and return what came of it."""
        mounted = self._mounts.pop(row.mount, None) or self._new_mount(row.mount)
        try:
            outcome = self._play(row, mounted)
        except BaseException as error:
            mounted.exits.__exit__(type(error), error, error.__traceback__)
            raise
        if row.mount.own:
            mounted.exits.close()
        else:
            self._mounts[row.mount] = mounted
        return outcome

    def _new_mount(self, kind: MountKind) -> _Mounted:
        place = self.folder / f"mount-{self._begun}"
        place.mkdir()
        self._begun += 1
        with contextlib.ExitStack() as exits:
            endpoint = self.emulator.relay_endpoint if kind.relayed else self.emulator.endpoint
            where: tuple[str, ...] = ("--endpoint", endpoint, "--plaintext", "--anonymous")
            environment: dict[str, str] = {}
            if kind.tokens:
                made = certificate(place)
                service = Service(exits.enter_context(tls_relay(self.emulator.port, made)), made)
                giver = exits.enter_context(token_server(lambda n: access_token(f"token-{n}")))
                key_file(place / "key.json", giver.address)
                where = ("--endpoint", service.endpoint, "--key-file", str(place / "key.json"))
                environment = service.environment
            # Each row checks the log for what it has to hold; at the end any line is expected.
            process = MountProcess(
                self.emulator,
                place,
                (*where, *kind.options),
                expected_warnings=[""],
                log_level="info",
                launcher=("env", *(f"{name}={text}" for name, text in environment.items())),
            )
            exits.enter_context(process)
            program = exits.enter_context(process.program())
            return _Mounted(process, program, exits.pop_all())
        raise AssertionError("not reached: nothing suppresses exceptions here")

    def _play(self, row: Row, mounted: _Mounted) -> Outcome:
        self._rows += 1
        name = f"row-{self._rows:03}"
        truth = Truth(self._rows)
        self._place(row.reader, name, truth)
        before = mounted.process.statistics()
        lines_before = len(mounted.log_lines())
        self.emulator.statistics(reset=True)
        self.emulator.order(*(_confined(rule, name) for rule in row.rules), seed=1)
        try:
            seen = mounted.call(row.reader, name, truth)
            asked = self.emulator.statistics()
        finally:
            self.emulator.mend()
        after = mounted.process.statistics()
        self._check_log(row, name, mounted.log_lines()[lines_before:])
        self._check_aftermath(row, name, mounted)
        shutil.rmtree(self.emulator.bucket / name)
        counted = {key: after[key] - before[key] for key in after}
        return Outcome(seen, sum(asked.requests.values()), asked.faults, counted)

    def _place(self, reader: Reader, name: str, truth: Truth) -> None:
        if reader is Reader.MANY:
            folder = self.emulator.bucket / name
            folder.mkdir()
            for entry in readers.entry_names():
                (folder / entry).touch()
        elif reader is Reader.NAMES:
            for small in readers.SMALL:
                content = truth.content(readers.SMALL_BYTES)
                self.emulator.place(f"{name}/{small}", content)
        else:
            content = truth.content(readers.LARGE_BYTES)
            self.emulator.place(f"{name}/{readers.LARGE}", content)
        self.emulator.place(f"{name}/control/file", _CONTROL)

    def _check_log(self, row: Row, name: str, lines: list[str]) -> None:
        """What a reader is told of is told in the log, with its name; what passes is not."""
        told = [line for line in lines if any(level in line for level in _LOG_LEVELS_TO_EXPLAIN)]
        if row.says:
            assert sum(row.says in line for line in told) == 1, told
            told = [line for line in told if row.says not in line]
        assert told == [] or row.errors, told
        assert told or not row.errors or row.sees in _NOT_LOGGED
        for line in told:
            assert any(error in line for error in row.errors), line
            assert name in line, line

    def _check_aftermath(self, row: Row, name: str, mounted: _Mounted) -> None:
        """Without faults the mount serves everything, also what failed, and holds nothing back."""
        process, program = mounted.process, mounted.program
        root = f"{process.path}/{name}"
        assert program.call(readers.read_all, f"{root}/control") == {"file": _CONTROL}
        truth = Truth(self._rows)
        if row.after is After.REWRITTEN:
            truth = Truth(self._rows, rewrites=1, grown_bytes=row.grown_bytes)
        again = mounted.call(row.reader, name, truth)
        if row.after is After.GONE:
            assert again.errors == ("ENOENT",)
        else:
            assert (again.wrong, again.errors) == (0, ())
        process.check_at_rest()


def _confined(rule: Rule, folder: str) -> Rule:
    """Return a rule that leaves the streams alone that idle since earlier rows."""
    if rule.point.of_connections or rule.object != "*" or "ReadObject" not in rule.method:
        return rule
    return replace(rule, object=f"{folder}/*")
