"""Tests that only ranges from the network are measured, not ranges that a tier answers itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
import trio

from gcsmux_fs.model.errors import StorageError, Unavailable
from gcsmux_fs.model.values import FinalContent
from gcsmux_fs.reading.bandwidth_estimator import BandwidthEstimator
from gcsmux_fs.reading.measured_source import MeasuredSource
from gcsmux_fs.reading.read_context import ReadContext
from tests.support.sizes import KIB, MIB

from .fakes import (
    ManualSource,
    TimedSource,
    content_of,
    key_of,
    metrics_of,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from gcsmux_fs.model.values import ObjectKey
    from gcsmux_fs.reading.range_source import RangeSource, RangeTicket

KEY = key_of("object")
SIZE = 64 * MIB
READ = 128 * KIB
LATENCY_SECONDS = 0.05


class HalfTier:
    """A tier, like a disk, that answers every second range; the source below answers the others."""

    def __init__(self, own: RangeSource, below: RangeSource) -> None:
        self._own = own
        self._below = below
        self._count = 0

    def request(
        self,
        key: ObjectKey,
        offset: int,
        length: int,
        done: Callable[[memoryview | StorageError], None],
        *,
        final: FinalContent | None = None,
    ) -> RangeTicket:
        self._count += 1
        source = self._own if self._count % 2 else self._below
        return source.request(key, offset, length, done, final=final)


async def read_all(tier_latency: float | None) -> tuple[BandwidthEstimator, int, dict[str, Any]]:
    """Read an object, and return the measurements of the mount.

    `tier_latency` is the latency of a tier in seconds; None for no tier. The result is the
    estimator, the number of bytes from the network, and the metrics.
    """
    async with trio.open_nursery() as nursery:
        network = TimedSource(nursery, LATENCY_SECONDS)
        bandwidth = BandwidthEstimator()
        source: RangeSource = MeasuredSource(network, bandwidth, trio.current_time)
        if tier_latency is not None:
            source = HalfTier(TimedSource(nursery, tier_latency), source)
        context = ReadContext(source, bandwidth, budget_bytes=128 * MIB, read_ahead_bytes=4 * MIB)
        file = context.open(KEY, SIZE)
        for offset in range(0, SIZE, READ):
            content = file.read_cached(offset, READ)
            if content is None:
                content = await file.read(offset, READ)
            assert content == content_of(KEY, offset, READ)
        file.close()
        metrics = metrics_of(context)
    return bandwidth, network.total, metrics


async def test_ranges_of_a_fast_tier_are_not_taken_for_bandwidth() -> None:
    direct, direct_bytes, _ = await read_all(None)
    tiered, network_bytes, metrics = await read_all(1e-6)
    assert direct.received_bytes == direct_bytes == SIZE
    assert tiered.received_bytes == network_bytes
    assert SIZE / 4 < network_bytes < SIZE * 3 / 4
    # If the ranges that the tier answers were measured, the delay would be 1 us.
    assert tiered.delay_seconds == pytest.approx(LATENCY_SECONDS)
    assert tiered.bytes_per_second <= direct.bytes_per_second
    assert tiered.window_bytes == direct.window_bytes
    assert metrics["bytes_served"] == SIZE
    assert (metrics["blocks_loading"], metrics["budget_in_flight"]) == (0, 0)


async def test_a_tier_as_slow_as_the_network_changes_no_count_of_the_read_path() -> None:
    _, _, direct_metrics = await read_all(None)
    _, network_bytes, tiered_metrics = await read_all(LATENCY_SECONDS)
    assert network_bytes < SIZE
    # Do not compare the sums of times: as floating-point numbers they differ in the last digit.
    assert tiered_metrics.pop("read_seconds") != {}
    assert direct_metrics.pop("read_seconds") != {}
    assert tiered_metrics == direct_metrics


def test_only_received_ranges_are_measured() -> None:
    network, bandwidth, now = ManualSource(), BandwidthEstimator(), 0.0
    answers: list[memoryview | StorageError] = []
    measured = MeasuredSource(network, bandwidth, lambda: now)
    for offset in (0, READ, 2 * READ):
        measured.request(KEY, offset, READ, answers.append)
    received, failed, cancelled = network.pending
    now = 0.25
    received.settle()
    failed.settle(Unavailable("no"))
    cancelled.cancel()
    assert bandwidth.received_bytes == READ
    assert (bandwidth.delay_seconds, bandwidth.bytes_per_second) == (0.25, READ / 0.25)
    content, error = answers
    assert isinstance(content, memoryview)
    assert bytes(content) == content_of(KEY, 0, READ)
    assert isinstance(error, Unavailable)


def test_the_source_below_sees_the_whole_request() -> None:
    network = ManualSource()
    measured = MeasuredSource(network, BandwidthEstimator(), lambda: 0.0)
    ticket = measured.request(KEY, 5, 7, lambda _: None, final=FinalContent(12, 34))
    (request,) = network.pending
    assert ticket is request
    assert (request.key, request.span) == (KEY, (5, 12))
    assert request.final == FinalContent(12, 34)
