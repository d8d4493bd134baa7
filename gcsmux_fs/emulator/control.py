"""What tests and benchmarks ask of a running emulator: counters, and faults to order.

Two unary methods beside the service's own take and give JSON as plain bytes; both are answered at
once, and counted nowhere:

- `/gcsmux.emulator.Control/Stats`, request empty or `{"reset": true}`: the counters (see
  `Counters`), as they were before the reset.
- `/gcsmux.emulator.Control/Faults`, request empty or the faults to set: the faults now in force.

Faults can also come from a file (`--faults FILE`), which is read again when it changes. They are
an object with any of these members; what is left out is off:

- `"bidi_cut": {"after_bytes": N, "times": K, "code": "UNAVAILABLE"}`: each BidiReadObject stream
  that has sent N bytes of content ends with that status, until K streams have; K of -1 is for
  ever, and `code` may be any gRPC status (default UNAVAILABLE).
"""

from __future__ import annotations

import json
import logging
from collections import Counter
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.refusal import Refusal, invalid
from gcsmux_fs.errors import StatusCode

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["CONTROL_SERVICE", "BidiCut", "Control", "Counters", "Faults", "StreamFaults"]

log = logging.getLogger(__name__)

CONTROL_SERVICE = "gcsmux.emulator.Control"
_FOR_EVER = -1


@dataclass(slots=True)
class Counters:
    """What has been asked and sent since the start or the last reset.

    `requests` counts calls by method. `ranges` and `bytes_asked` are what BidiReadObject and
    ReadObject asked for (after cutting at the end of the object), `bytes_sent` is the content
    sent. `streams_open` is how many BidiReadObject calls are under way, and is never reset.
    """

    requests: Counter[str] = field(default_factory=Counter)
    ranges: int = 0
    bytes_asked: int = 0
    bytes_sent: int = 0
    cuts: int = 0
    streams_open: int = 0

    def reset(self) -> None:
        """Begin to count anew."""
        self.requests.clear()
        self.ranges = self.bytes_asked = self.bytes_sent = self.cuts = 0

    def to_json(self) -> bytes:
        """Return the counters as JSON."""
        # asdict() makes a Counter of pairs out of a Counter.
        return json.dumps({**asdict(self), "requests": self.requests}).encode()


@dataclass(frozen=True, slots=True)
class BidiCut:
    """End streams with `code` once they have sent `after_bytes`, `times` times (-1: for ever)."""

    after_bytes: int
    times: int = 1
    code: StatusCode = StatusCode.UNAVAILABLE


@dataclass(frozen=True, slots=True)
class Faults:
    """The faults that are ordered."""

    bidi_cut: BidiCut | None = None

    @classmethod
    def parse(cls, text: str | bytes) -> Faults:
        """Return the faults that a JSON text orders.

        Raises:
            Refusal: the text is not such an order (INVALID_ARGUMENT).
        """
        try:
            raw = dict(json.loads(text))
            unknown = set(raw) - {"bidi_cut"}
            if unknown:
                raise KeyError(f"no such fault: {', '.join(sorted(unknown))}")
            if not raw.get("bidi_cut"):
                return cls()
            cut = dict(raw["bidi_cut"])
            code = StatusCode[cut.pop("code", "UNAVAILABLE")]
            return cls(BidiCut(code=code, **{key: int(value) for key, value in cut.items()}))
        except (ValueError, KeyError, TypeError) as error:
            raise invalid(f"These are not faults in JSON: {error}.") from None

    def to_json(self) -> bytes:
        """Return what `parse` takes."""
        if self.bidi_cut is None:
            return b"{}"
        cut = {**asdict(self.bidi_cut), "code": self.bidi_cut.code.name}
        return json.dumps({"bidi_cut": cut}).encode()


class StreamFaults:
    """What is to befall one stream; asked before each message."""

    def __init__(self, control: Control) -> None:
        self._control = control
        self._sent = 0

    def allowance(self) -> int | None:
        """Return how much content may still be sent before the stream is cut; None: no cut."""
        cut = self._control.faults.bidi_cut
        if cut is None or cut.times == 0:
            return None
        return max(0, cut.after_bytes - self._sent)

    def sent(self, size: int) -> None:
        """Take note of content that was sent."""
        self._sent += size

    def cut(self) -> Refusal:
        """Return how the stream ends, and count it."""
        cut = self._control.cut_done()
        return Refusal(cut.code, f"Cut on order after {self._sent} bytes")


class Control:
    """The counters, the faults in force, and the file that may order new ones."""

    def __init__(self, faults_file: Path | None = None) -> None:
        self.counters = Counters()
        self.faults = Faults()
        self._file = faults_file
        self._seen: tuple[int, int, int] | None = None
        self._read_file()

    def _read_file(self) -> None:
        """Take new orders from the file, if it has changed; a missing one orders nothing new.

        Raises:
            Refusal: the file is not an order; it is not read again before it changes.
        """
        if self._file is None:
            return
        with suppress(FileNotFoundError):
            status = self._file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._seen:
                self._seen = stamp
                self.faults = Faults.parse(self._file.read_text())

    def stream(self) -> StreamFaults:
        """Return what is to befall a stream that begins now."""
        try:
            self._read_file()
        except Refusal as error:
            log.warning("%s: %s", self._file, error)
        return StreamFaults(self)

    def cut_done(self) -> BidiCut:
        """Count a cut stream; return how it was to be cut."""
        cut = self.faults.bidi_cut
        if cut is None:
            return BidiCut(0)
        self.counters.cuts += 1
        if cut.times > 0:
            self.faults = Faults(BidiCut(cut.after_bytes, cut.times - 1, cut.code))
        return cut

    async def answer_stats(self, request: bytes) -> bytes:
        """Answer Control/Stats."""
        answer = self.counters.to_json()
        if request and json.loads(request).get("reset"):
            self.counters.reset()
        return answer

    async def answer_faults(self, request: bytes) -> bytes:
        """Answer Control/Faults."""
        if request:
            self.faults = Faults.parse(request)
        return self.faults.to_json()
