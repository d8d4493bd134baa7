"""What tests and benchmarks ask of a running emulator: counters, and faults to order.

Two unary methods beside the service's own take and give JSON as plain bytes; both are answered at
once, and counted nowhere:

- `/gcsmux.emulator.Control/Stats`, request empty or `{"reset": true}`: the counters (see
  `Counters`), as they were before the reset.
- `/gcsmux.emulator.Control/Faults`, request empty or the faults to set (see `rules`): the faults
  now in force, as they were ordered. `{}` orders none.

Faults can also come from a file (`--faults FILE`), which is read again when it changes; it is
looked at whenever a call or a connection arrives.
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults.catalogue import Goaway, RstStream
from gcsmux_fs.emulator.injection.plan import FaultBook
from gcsmux_fs.emulator.injection.rules import Faults
from gcsmux_fs.emulator.rpc_error import RpcError, invalid

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.store import Store

__all__ = ["CONTROL_SERVICE", "CallCounters", "Control"]

log = logging.getLogger(__name__)

_OF_FRAMES = (Goaway, RstStream)
CONTROL_SERVICE = "gcsmux.emulator.Control"


@dataclass(slots=True)
class CallCounters:
    """What has been asked and sent since the start or the last reset.

    `requests` counts calls by method. `ranges` and `bytes_asked` are what BidiReadObject and
    ReadObject asked for (after cutting at the end of the object), `bytes_sent` is the content
    sent. `faults` counts by the rules' names how often each fired. `streams_open` is how many
    BidiReadObject calls are under way, and is never reset.
    """

    requests: Counter[str] = field(default_factory=Counter)
    ranges: int = 0
    bytes_asked: int = 0
    bytes_sent: int = 0
    faults: Counter[str] = field(default_factory=Counter)
    streams_open: int = 0

    def reset(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.faults.clear()
        self.ranges = self.bytes_asked = self.bytes_sent = 0

    def to_json(self) -> bytes:
        """Return the counters as JSON."""
        # asdict() makes CallCounters of pairs out of CallCounters.
        return json.dumps(
            {**asdict(self), "requests": self.requests, "faults": self.faults}
        ).encode()


class Control:
    """The counters, the faults in force, and the file that may order new ones.

    Whoever has to act as soon as new faults are ordered adds itself to `listeners`.
    """

    def __init__(
        self, faults_file: Path | None = None, *, has_relay: bool = False, tls: bool = False
    ) -> None:
        self.counters = CallCounters()
        self.listeners: set[Callable[[], None]] = set()
        # What faults rewrite.
        self.store: Store | None = None
        self.book = FaultBook(Faults(), self.counters.faults)
        self._has_relay = has_relay
        self._tls = tls
        self._file = faults_file
        self._seen: tuple[int, int, int] | None = None
        self._read_file()

    @property
    def armed(self) -> bool:
        """Whether anything can happen to calls."""
        return self.book.armed

    def order(self, faults: Faults) -> None:
        """Put faults in force, in place of all that were.

        Raises:
            RpcError: they are of connections and there is no relay, or of frames that it cannot
                see (INVALID_ARGUMENT).
        """
        if faults.of_relay and not self._has_relay:
            raise invalid(
                "Faults of connections need the relay: start the emulator with --relay-port."
            )
        if self._tls and any(isinstance(rule.fault, _OF_FRAMES) for rule in faults.rules):
            raise invalid(
                "A goaway or rst_stream needs plaintext: the relay sees no frames in TLS."
            )
        self.book = FaultBook(faults, self.counters.faults)
        for listener in tuple(self.listeners):
            listener()

    def look(self) -> None:
        """Take new orders from the file, if it has changed; a bad one is logged, once."""
        if self._file is not None:
            try:
                self._read_file()
            except RpcError as error:
                log.warning("%s: %s", self._file, error)

    def _read_file(self) -> None:
        """Take new orders from the file, if it has changed; a missing one orders nothing new.

        Raises:
            RpcError: the file is not an order; it is not read again before it changes.
        """
        if self._file is None:
            return
        with suppress(FileNotFoundError):
            status = self._file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._seen:
                self._seen = stamp
                self.order(Faults.parse(self._file.read_bytes()))

    async def answer_stats(self, request: bytes) -> bytes:
        """Answer Control/Stats.

        Raises:
            RpcError: the request is none (INVALID_ARGUMENT).
        """
        try:
            wanted = json.loads(request or b"{}")
        except ValueError:
            wanted = None
        if not isinstance(wanted, dict) or wanted not in ({}, {"reset": True}, {"reset": False}):
            raise invalid('Stats takes nothing, or {"reset": true}.')
        answer = self.counters.to_json()
        if wanted.get("reset"):
            self.counters.reset()
        return answer

    async def answer_faults(self, request: bytes) -> bytes:
        """Answer Control/Faults."""
        if request:
            self.order(Faults.parse(request))
        return self.book.faults.to_json()
