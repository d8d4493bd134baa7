"""Tests of the spans of lookups, OPENs, READs, ranges and streams."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import asynccontextmanager
from random import Random
from typing import TYPE_CHECKING

import pytest
import trio
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import (
    BatchSpanProcessor,
    SimpleSpanProcessor,
    SpanExporter,
    SpanExportResult,
)
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import StatusCode

from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.filesystem.controlled_filesystem import ControlledFilesystem
from gcsmux_fs.filesystem.file_attributes import AbsentName
from gcsmux_fs.model.errors import GenerationGone, StorageError
from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.mux.stream_registry import StreamRegistry
from gcsmux_fs.namespace.inode_numbers import ROOT_INODE
from gcsmux_fs.process.deferred_calls import DeferredCalls
from gcsmux_fs.reading.read_context import ReadContext
from gcsmux_fs.tracing import tracer_provider
from gcsmux_fs.tracing.trace_settings import exporter_names, start_tracing
from gcsmux_fs.tracing.tracer_provider import Tracing
from tests.filesystem.served_bucket import THREAD, served
from tests.mux.fake_transport import FakeTransport
from tests.mux.plans import CONTENT, Plan, key_of
from tests.support.sizes import KIB, MIB

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from tests.filesystem.served_bucket import ServedBucket


class Traces:
    """A tracing whose spans the test reads."""

    def __init__(self, *, sampled: bool = True) -> None:
        provider = TracerProvider() if sampled else TracerProvider(sampler=ALWAYS_OFF)
        self._exporter = InMemorySpanExporter()
        provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self.tracing = Tracing(provider)

    def spans(self, name: str) -> list[ReadableSpan]:
        return [span for span in self._exporter.get_finished_spans() if span.name == name]


def values_of(span: ReadableSpan, *names: str) -> tuple[object, ...]:
    assert span.attributes is not None
    return tuple(span.attributes.get(f"gcsmux.{name}") for name in names)


def is_child(span: ReadableSpan, parent: ReadableSpan) -> bool:
    return span.parent is not None and span.parent.span_id == parent.context.span_id


@asynccontextmanager
async def traced(
    *names: str, size: int = 20_000, sampled: bool = True
) -> AsyncIterator[tuple[ServedBucket, BucketFilesystem, Traces]]:
    """Serve a bucket by a traced file system."""
    traces = Traces(sampled=sampled)
    async with served(*names, size=size) as bucket:
        source = traces.tracing.source(bucket.source)
        bucket.context = ReadContext(source, budget_bytes=64 * MIB)
        bucket.filesystem.close()
        calls = DeferredCalls()
        bucket.filesystem = traces.tracing.filesystem(BucketFilesystem)(
            bucket.tree, bucket.context, bucket.policy, bucket="bucket", call_soon=calls
        )
        bucket.nursery.start_soon(calls.run)
        yield bucket, bucket.filesystem, traces


async def test_a_read_has_a_span_with_the_result_of_the_cache_and_its_ranges() -> None:
    async with traced("large", size=4 * MIB) as (bucket, filesystem, traces):
        handle = await bucket.open("large")
        assert filesystem.read_cached(handle, MIB, 4 * KIB) is None
        await bucket.read(handle, MIB, 4 * KIB)
        await bucket.read(handle, MIB, 4 * KIB)
        async with trio.open_nursery() as readers:
            for _ in range(2):
                readers.start_soon(bucket.read, handle, 3 * MIB, 4 * KIB)
        reads = traces.spans("read")
        generation = bucket.store["large"].generation
        results = [values_of(span, "offset", "length", "cache") for span in reads]
        assert results[:2] == [(MIB, 4 * KIB, "miss"), (MIB, 4 * KIB, "hit")]
        assert set(results[2:]) == {(3 * MIB, 4 * KIB, "miss"), (3 * MIB, 4 * KIB, "wait")}
        assert {values_of(span, "bucket", "object", "generation") for span in reads} == {
            ("bucket", "large", generation)
        }
        needed = [span for span in traces.spans("range") if not values_of(span, "readahead")[0]]
        children = [span for span in needed if is_child(span, reads[0])]
        assert len(children) == 1
        offset, length = values_of(children[0], "offset", "length")
        assert isinstance(offset, int)
        assert isinstance(length, int)
        assert offset <= MIB < offset + length
        (opened,) = traces.spans("open")
        assert values_of(opened, "object", "size") == ("large", 4 * MIB)


async def test_a_lookup_has_a_span() -> None:
    async with traced("file") as (_, filesystem, traces):
        await filesystem.lookup(ROOT_INODE, b"file", THREAD)
        assert isinstance(await filesystem.lookup(ROOT_INODE, b"a\nb\xff", THREAD), AbsentName)
        assert [values_of(span, "name", "found") for span in traces.spans("lookup")] == [
            ("file", True),
            (r"a\nb\udcff", False),
        ]


async def test_a_failed_read_has_a_span_with_the_error() -> None:
    async with traced("file", size=4 * MIB) as (bucket, _, traces):
        handle = await bucket.open("file")
        bucket.stall("file")
        bucket.nursery.start_soon(bucket.answer_gone)
        with pytest.raises(GenerationGone):
            await bucket.read(handle, 2 * MIB, 4 * KIB)
        (read,) = traces.spans("read")
        assert read.status.status_code is StatusCode.ERROR
        assert [event.name for event in read.events] == ["exception"]
        failed = [span for span in traces.spans("range") if span.status.status_code.name == "ERROR"]
        assert any(is_child(span, read) for span in failed)


async def test_a_mount_with_a_control_directory_is_traced_too() -> None:
    async with traced("file") as (bucket, _, traces):
        bucket.filesystem.close()
        filesystem = traces.tracing.filesystem(ControlledFilesystem)(
            bucket.tree, bucket.context, bucket.policy, bucket="bucket", call_soon=DeferredCalls()
        )
        assert isinstance(filesystem, ControlledFilesystem)
        filesystem.show({"status": lambda: "content"}, 0)
        bucket.filesystem = filesystem
        assert await bucket.read(await bucket.open(".gcsmux/status")) == b"content"
        assert traces.spans("read") == traces.spans("lookup") == []
        assert len(await bucket.read(await bucket.open("file"))) == 20_000
        assert len(traces.spans("read")) == len(traces.spans("lookup")) == 1


async def test_requests_that_are_not_sampled_have_no_ranges() -> None:
    async with traced("file", size=4 * MIB, sampled=False) as (bucket, _, traces):
        handle = await bucket.open("file")
        assert len(await bucket.read(handle, MIB, 4 * KIB)) == 4 * KIB
        assert len(await bucket.read(handle, MIB, 4 * KIB)) == 4 * KIB
        assert traces.spans("read") == traces.spans("range") == []


async def test_a_lost_stream_shows_as_an_event_of_its_ranges_and_as_a_second_stream() -> None:
    traces = Traces()
    results: list[memoryview | StorageError] = []
    async with trio.open_nursery() as nursery:
        fake = FakeTransport(nursery, Plan(), [Plan(cut_after=64 * KIB)])
        registry = StreamRegistry(
            traces.tracing.transport(fake),
            RetryPolicy(),
            Random(0),
            call_soon=trio.lowlevel.current_trio_token().run_sync_soon,
        )
        nursery.start_soon(registry.run)
        source = traces.tracing.source(registry)
        with traces.tracing.tracer.start_as_current_span("read"):
            source.request(key_of("object"), 1000, 100 * KIB, results.append)
            cancelled = source.request(key_of("object"), 200 * KIB, 10, results.append)
        source.request(key_of("untraced"), 0, 10, results.append)
        cancelled.cancel()
        await trio.testing.wait_all_tasks_blocked()
        nursery.cancel_scope.cancel()
    assert [len(each) for each in results if isinstance(each, memoryview)] == [10, 100 * KIB]
    assert bytes(results[1]) == CONTENT[1000 : 1000 + 100 * KIB]  # type: ignore[arg-type]
    (read,) = traces.spans("read")
    ranges = {values_of(span, "offset")[0]: span for span in traces.spans("range")}
    streams = traces.spans("stream")
    assert all(is_child(span, read) for span in ranges.values())
    assert set(ranges) == {1000, 200 * KIB}
    assert values_of(ranges[200 * KIB], "cancelled") == (True,)
    assert [event.name for event in ranges[1000].events] == ["sent", "resumed"]
    identifiers = [trace.format_span_id(span.context.span_id) for span in streams]
    places = [dict(event.attributes or {}) for event in ranges[1000].events]
    assert [place["gcsmux.stream"] for place in places] == identifiers
    assert (places[0]["gcsmux.offset"], places[1]["gcsmux.offset"]) == (1000, 1000 + 64 * KIB)
    assert all(is_child(span, ranges[1000]) for span in streams)
    assert streams[0].status.description == "UNAVAILABLE: cut"
    assert values_of(streams[1], "object", "cancelled") == ("object", True)


class _StuckExporter(SpanExporter):
    """An exporter that hangs until the test ends, or fails."""

    def __init__(self) -> None:
        self.may_end = threading.Event()
        self.calls = 0

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        self.calls += 1
        self.may_end.wait(20)
        raise RuntimeError("the exporter is broken")

    def shutdown(self) -> None:
        self.may_end.wait(20)


@pytest.mark.expects_log("Queue full", "Exception while exporting")
async def test_an_exporter_that_hangs_delays_neither_reads_nor_the_end(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(tracer_provider, "_CLOSE_SECONDS", 0.05)
    exporter, provider = _StuckExporter(), TracerProvider(shutdown_on_exit=False)
    processor = BatchSpanProcessor(
        exporter, max_queue_size=4, max_export_batch_size=2, schedule_delay_millis=1
    )
    provider.add_span_processor(processor)
    tracing = Tracing(provider)
    async with served("file", size=4 * MIB) as bucket:
        bucket.filesystem.close()
        bucket.filesystem = tracing.filesystem(BucketFilesystem)(
            bucket.tree, bucket.context, bucket.policy, bucket="bucket", call_soon=DeferredCalls()
        )
        handle = await bucket.open("file")
        for number in range(100):
            assert len(await bucket.read(handle, number * KIB, KIB)) == KIB
    tracing.close()
    assert exporter.calls <= 1
    exporter.may_end.set()


@pytest.mark.parametrize(
    ("environment", "names"),
    [
        ({}, []),
        ({"OTEL_SERVICE_NAME": "x"}, []),
        ({"OTEL_TRACES_EXPORTER": "none"}, []),
        ({"OTEL_TRACES_EXPORTER": "none", "OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, []),
        ({"OTEL_TRACES_EXPORTER": "otlp, console"}, ["otlp", "console"]),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://a"}, ["otlp"]),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://a"}, ["otlp"]),
        ({"OTEL_TRACES_EXPORTER": "otlp", "OTEL_SDK_DISABLED": "TRUE"}, []),
    ],
)
def test_the_environment_chooses_the_exporters(
    environment: dict[str, str], names: list[str]
) -> None:
    assert exporter_names(environment) == names


@pytest.mark.expects_log("no traces are sent, because a package is missing")
def test_a_missing_exporter_is_a_warning(caplog: pytest.LogCaptureFixture) -> None:
    with start_tracing({"OTEL_TRACES_EXPORTER": "unheard-of"}) as tracing:
        assert tracing is None
    assert "the exporter unheard-of is not installed" in caplog.text


def test_an_installed_exporter_is_used() -> None:
    with start_tracing({"OTEL_TRACES_EXPORTER": "console"}) as tracing:
        assert tracing is not None


def test_a_mount_without_traces_and_metrics_loads_neither_library() -> None:
    program = (
        "import sys, gcsmux_fs.mounting, gcsmux_fs.connected_bucket as connected_bucket\n"
        "with connected_bucket.start_tracing({}) as tracing: assert tracing is None\n"
        "print(sorted({'opentelemetry', 'prometheus_client'} & set(sys.modules)))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.stdout, done.stderr) == ("[]\n", "")
