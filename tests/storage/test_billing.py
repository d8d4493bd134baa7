"""Tests of the request counters by billing class, and of the metrics that `storage` declares."""

from __future__ import annotations

from typing import TYPE_CHECKING

from gcsmux_fs.metrics.registry import Registry
from gcsmux_fs.storage.billing import BilledRequests
from gcsmux_fs.storage.fallback import FallbackTransport

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.storage.ports import BidiListener, OpenSpec, RangeRequest
    from gcsmux_fs.storage.read_object import RangeListener


def snapshot(billed: BilledRequests) -> object:
    registry = Registry()
    billed.declare_metrics(registry)
    return registry.snapshot()["requests_by_class"]


def test_listing_is_class_a_and_other_unary_calls_are_class_b() -> None:
    billed = BilledRequests()
    billed.note_unary_call("ListObjects", succeeded=True)
    for method in ("GetObject", "GetStorageLayout", "TestIamPermissions"):
        billed.note_unary_call(method, succeeded=True)
    assert snapshot(billed) == {"A": 1, "B": 3, "free": 0}


def test_a_failed_unary_call_is_free() -> None:
    billed = BilledRequests()
    billed.note_unary_call("ListObjects", succeeded=False)
    billed.note_unary_call("GetObject", succeeded=False)
    assert snapshot(billed) == {"A": 0, "B": 0, "free": 2}


def test_each_range_is_one_read_and_an_opening_message_without_ranges_is_one_too() -> None:
    billed = BilledRequests()
    billed.note_reads(3)
    billed.note_reads(0)
    assert snapshot(billed) == {"A": 0, "B": 4, "free": 0}


class _NoService:
    """A fake that serves as a transport and as each of its calls, and does nothing."""

    def open(self, spec: OpenSpec, ranges: object, listener: BidiListener) -> _NoService:
        return self

    def start(self, key: ObjectKey, request: RangeRequest, listener: RangeListener) -> _NoService:
        return self

    def send(self, ranges: object) -> None: ...

    def cancel(self) -> None: ...


def test_the_fallback_declares_gauges_and_counters() -> None:
    def call_soon(_: Callable[[], None]) -> None: ...

    registry = Registry()
    service = _NoService()
    transport = FallbackTransport(service, service, clock=lambda: 0.0, call_soon=call_soon)
    transport.declare_metrics(registry)
    assert registry.snapshot() == {
        "bidi_missing": 0,
        "bidi_losses": 0,
        "bidi_probes": 0,
        "read_object_requests": 0,
        "read_object_open": 0,
        "unary_streams": 0,
    }
