"""A stage runs rows: it has an emulator with a TCP proxy, mounts, and a program for each mount."""

from __future__ import annotations

import contextlib
import shutil
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Self

from tests.reliability import readers
from tests.reliability.readers import Truth
from tests.reliability.rows import After, Reader
from tests.support.harness import EmulatorProcess, MountProcess, Program, wait_until
from tests.support.tls import (
    Service,
    access_token,
    certificate,
    key_file,
    tls_relay,
    token_server,
)

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.emulator.injection.rules import Rule
    from tests.reliability.readers import Seen
    from tests.reliability.rows import MountKind, Row

__all__ = ["Outcome", "Stage"]

# The content of the file that each row reads after its fault, to check that the mount works.
_CONTROL = b"the mount works"
_REPORTED_LEVELS = (" WARNING ", " ERROR ", " CRITICAL ")
# The mount logs these errnos at a level below WARNING, because both are valid answers.
_NOT_LOGGED = ("ENOENT", "ESTALE")
_READERS: dict[Reader, Callable[[str, Truth], Seen]] = {
    Reader.SEQUENTIAL: readers.read_sequentially,
    Reader.TWO_PARTS: readers.read_in_two_parts,
    Reader.RANDOM: readers.read_at_random,
    Reader.NAMES: readers.look_up_list_and_read,
    Reader.MANY: readers.list_many,
}


@dataclass(frozen=True)
class Outcome:
    """The outcome of a row: what the reader saw, and the number of requests.

    `fired` counts how often each rule fired. `increases` is the increase of each metric of the
    mount.
    """

    seen: Seen
    requests: int
    fired: dict[str, int]
    increases: dict[str, int]


@dataclass
class _Mounted:
    """A mount and the program that uses it, for one row or for several rows."""

    process: MountProcess
    program: Program
    exits: contextlib.ExitStack

    def log_lines(self) -> list[str]:
        return self.process.log.splitlines()

    def call(self, reader: Reader, folder: str, truth: Truth) -> Seen:
        return self.program.call(_READERS[reader], f"{self.process.path}/{folder}", truth)


@dataclass
class Stage:
    """An emulator and the mounts that several rows share. A failed row ends the mount it used."""

    folder: Path
    emulator: EmulatorProcess = field(init=False)
    _mounts: dict[MountKind, _Mounted] = field(default_factory=dict)
    _mounts_made: int = 0
    _rows_played: int = 0

    def __enter__(self) -> Self:
        self.emulator = EmulatorProcess(self.folder / "buckets", relay=True)
        self.emulator.__enter__()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            while self._mounts:
                _, mounted = self._mounts.popitem()
                mounted.exits.close()
            wait_until(lambda: self.emulator.statistics().streams_open == 0, "no open stream")
        finally:
            self.emulator.__exit__(*error)
        assert self.emulator.log == ""

    def play(self, row: Row) -> Outcome:
        """Run a row, check the log and the recovery of the mount, and return the outcome."""
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
        place = self.folder / f"mount-{self._mounts_made}"
        place.mkdir()
        self._mounts_made += 1
        with contextlib.ExitStack() as exits:
            endpoint = self.emulator.relay_endpoint if kind.proxied else self.emulator.endpoint
            options: tuple[str, ...] = ("--endpoint", endpoint, "--plaintext", "--anonymous")
            environment: dict[str, str] = {}
            if kind.tokens:
                server_certificate = certificate(place)
                service = Service(
                    exits.enter_context(tls_relay(self.emulator.port, server_certificate)),
                    server_certificate,
                )
                tokens = exits.enter_context(token_server(lambda n: access_token(f"token-{n}")))
                key_file(place / "key.json", tokens.address)
                options = ("--endpoint", service.endpoint, "--key-file", str(place / "key.json"))
                environment = service.environment
            # `_check_log` checks the log lines of each row, so MountProcess accepts any warning.
            process = MountProcess(
                self.emulator,
                place,
                # With READs of 128 KiB, a file takes several requests, and faults hit each of them.
                (*options, "--kernel-read-ahead", "0", *kind.options),
                expected_warnings=[""],
                log_level="info",
                launcher=("env", *(f"{name}={text}" for name, text in environment.items())),
            )
            exits.enter_context(process)
            program = exits.enter_context(process.program())
            return _Mounted(process, program, exits.pop_all())
        raise AssertionError("not reached: nothing suppresses exceptions here")

    def _play(self, row: Row, mounted: _Mounted) -> Outcome:
        self._rows_played += 1
        name = f"row-{self._rows_played:03}"
        truth = Truth(self._rows_played)
        self._place(row.reader, name, truth)
        before = mounted.process.statistics()
        lines_before = len(mounted.log_lines())
        self.emulator.statistics(reset=True)
        self.emulator.inject(*(_limited_to(rule, name) for rule in row.rules), seed=1)
        try:
            seen = mounted.call(row.reader, name, truth)
            counters = self.emulator.statistics()
        finally:
            self.emulator.clear_faults()
        after = mounted.process.statistics()
        self._check_log(row, name, mounted.log_lines()[lines_before:])
        self._check_recovery(row, name, mounted)
        shutil.rmtree(self.emulator.bucket / name)
        increases = {name: after[name] - before[name] for name in after}
        return Outcome(seen, sum(counters.requests.values()), counters.faults, increases)

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
        """Check that each warning in the log names an expected errno and the file.

        If the reader saw an errno that is not in `_NOT_LOGGED`, the log must contain a warning.
        """
        reported = [line for line in lines if any(level in line for level in _REPORTED_LEVELS)]
        if row.says:
            assert sum(row.says in line for line in reported) == 1, reported
            reported = [line for line in reported if row.says not in line]
        assert reported == [] or row.errors, reported
        assert reported or not row.errors or row.sees in _NOT_LOGGED
        for line in reported:
            assert any(error in line for error in row.errors), line
            assert name in line, line

    def _check_recovery(self, row: Row, name: str, mounted: _Mounted) -> None:
        """Check that the mount serves all files after the fault and that it becomes idle."""
        process, program = mounted.process, mounted.program
        root = f"{process.path}/{name}"
        assert program.call(readers.read_all, f"{root}/control") == {"file": _CONTROL}
        truth = Truth(self._rows_played)
        if row.after is After.REWRITTEN:
            truth = Truth(self._rows_played, rewrites=1, grown_bytes=row.grown_bytes)
        again = mounted.call(row.reader, name, truth)
        if row.after is After.GONE:
            assert again.errors == ("ENOENT",)
        else:
            assert (again.wrong, again.errors) == (0, ())
        process.check_at_rest()


def _limited_to(rule: Rule, folder: str) -> Rule:
    """Limit a rule to the row's folder; otherwise idle streams of earlier rows could trigger it."""
    if rule.point.of_connections or rule.object != "*" or "ReadObject" not in rule.method:
        return rule
    return replace(rule, object=f"{folder}/*")
