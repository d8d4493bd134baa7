"""Keeps the active rules for faults, and reads new rules from the faults file."""

from __future__ import annotations

import logging
from contextlib import suppress
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.faults import Goaway, RstStream
from gcsmux_fs.emulator.injection.fault_plan import ActiveRules
from gcsmux_fs.emulator.injection.rules import Faults
from gcsmux_fs.emulator.rpc_error import RpcError, invalid

if TYPE_CHECKING:
    from collections import Counter
    from collections.abc import Callable
    from pathlib import Path

    from gcsmux_fs.emulator.buckets.store import BucketStore

__all__ = ["FaultOrders"]

log = logging.getLogger(__name__)

_FRAME_FAULTS = (Goaway, RstStream)


class FaultOrders:
    """Keeps the active rules. New rules replace all older rules.

    `store` holds the buckets that faults change. `fired` counts how often each rule fires, by rule
    name. The functions in `listeners` are called after each replacement, so that the new rules
    apply to open streams and connections at once.
    """

    def __init__(
        self,
        store: BucketStore,
        fired: Counter[str],
        faults_file: Path | None = None,
        *,
        has_proxy: bool = False,
        tls: bool = False,
    ) -> None:
        self.store = store
        self.listeners: set[Callable[[], None]] = set()
        self.rules = ActiveRules(Faults(), fired)
        self._fired = fired
        self._has_proxy = has_proxy
        self._tls = tls
        self._file = faults_file
        self._file_stamp: tuple[int, int, int] | None = None
        self._read_file()

    @property
    def armed(self) -> bool:
        """Whether a rule for calls can still fire."""
        return self.rules.armed

    def order(self, faults: Faults) -> None:
        """Replace the active rules by the rules in `faults`.

        Raises:
            RpcError: a fault needs the TCP proxy, but the emulator has no TCP proxy; or a fault
                inserts HTTP/2 frames, but the connections use TLS (INVALID_ARGUMENT).
        """
        if faults.of_connections and not self._has_proxy:
            raise invalid(
                "Faults of connections need the TCP proxy: start the emulator with --relay-port."
            )
        if self._tls and any(isinstance(rule.fault, _FRAME_FAULTS) for rule in faults.rules):
            raise invalid(
                "goaway and rst_stream need connections without TLS: the TCP proxy cannot insert"
                " frames into TLS."
            )
        self.rules = ActiveRules(faults, self._fired)
        for listener in tuple(self.listeners):
            listener()

    def poll_file(self) -> None:
        """Use the rules in the faults file if the file has changed. Log an invalid file once."""
        if self._file is not None:
            try:
                self._read_file()
            except RpcError as error:
                log.warning(
                    "The faults file %s is ignored, and the active rules stay: %s",
                    self._file,
                    error,
                )

    def _read_file(self) -> None:
        """Use the rules in the faults file if the file has changed. Ignore a missing file.

        Raises:
            RpcError: the file does not hold valid rules. The file is not read again until it
                changes.
        """
        if self._file is None:
            return
        with suppress(FileNotFoundError):
            status = self._file.stat()
            stamp = (status.st_ino, status.st_size, status.st_mtime_ns)
            if stamp != self._file_stamp:
                self._file_stamp = stamp
                self.order(Faults.parse(self._file.read_bytes()))
