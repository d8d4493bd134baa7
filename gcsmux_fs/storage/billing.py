"""Counts requests by the classes in which Google Cloud Storage bills them; sans-IO.

The classes are listed in https://cloud.google.com/storage/pricing#operations-by-class: listing
objects is class A; reading an object, its metadata or its bucket's metadata, and testing
permissions are class B; a request that is answered with an error is free.

The page describes the JSON and XML interfaces only. For gRPC this module counts as follows:

- Each range of a BidiReadObject message counts as one read of class B, as a range request of the
  JSON interface does. An opening message without ranges counts as one read, too.
- A ReadObject call counts as one read of class B.
- A read counts when its request is sent, even if the read fails later, because a stream that fails
  can have served some of its ranges. So the count of class B is an upper bound.
- An attempt of a unary call counts when the attempt ends. A failed attempt counts as free.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from gcsmux_fs.metrics.registry import Registry

__all__ = ["BilledRequests"]

_CLASS_A_METHODS = frozenset({"ListObjects"})


@dataclass(slots=True)
class BilledRequests:
    """Numbers of requests of one mount, by billing class."""

    class_a: int = 0
    class_b: int = 0
    free: int = 0

    def note_unary_call(self, method: str, *, succeeded: bool) -> None:
        """Count one attempt of a unary call."""
        if not succeeded:
            self.free += 1
        elif method in _CLASS_A_METHODS:
            self.class_a += 1
        else:
            self.class_b += 1

    def note_reads(self, ranges: int) -> None:
        """Count the ranges of one read request; a request without ranges counts as one read."""
        self.class_b += ranges or 1

    def declare_metrics(self, registry: Registry) -> None:
        """Declare the counter `requests_by_class` with the label `class`."""
        text = "Requests by billing class. The number of reads is an upper bound."
        for name, read in (
            ("A", lambda: self.class_a),
            ("B", lambda: self.class_b),
            ("free", lambda: self.free),
        ):
            registry.counter("requests_by_class", "requests", text, read, {"class": name})
