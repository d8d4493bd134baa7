"""Creates OpenTelemetry's tracer with the exporters that the environment names.

Spans go into a queue, and a thread of the SDK exports them in batches. If an exporter fails or
hangs, the queue fills up, and the SDK drops further spans. So an exporter cannot delay a READ.
"""

from __future__ import annotations

import logging
import threading
from functools import partial
from importlib.metadata import entry_points
from typing import TYPE_CHECKING

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from gcsmux_fs import __version__
from gcsmux_fs.filesystem.bucket_filesystem import BucketFilesystem
from gcsmux_fs.tracing.traced_filesystem import TracedFilesystem
from gcsmux_fs.tracing.traced_ranges import ActiveRanges, TracedSource, TracedTransport

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExporter

    from gcsmux_fs.reading.range_source import RangeSource
    from gcsmux_fs.storage.ports import BidiTransport

__all__ = ["Tracing", "new_tracing"]

log = logging.getLogger(__name__)

_EXPORTERS = "opentelemetry_traces_exporter"
_SERVICE_NAME = "gcsmux-fs"

# The exporters for the name `otlp`, by the value of OTEL_EXPORTER_OTLP_PROTOCOL. Without a value,
# the first one that is installed is used.
_OTLP = {"grpc": "otlp_proto_grpc", "http/protobuf": "otlp_proto_http"}
_PROTOCOLS = ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL")

# How long the end of a mount waits until the last spans are exported, in seconds. An exporter
# whose server does not answer would wait for 30 s.
_CLOSE_SECONDS = 2.0


class Tracing:
    """The tracer of one mount, and the wrappers that create spans of ranges and streams."""

    def __init__(self, provider: TracerProvider) -> None:
        self._provider = provider
        self._ranges = ActiveRanges()
        self.tracer = provider.get_tracer("gcsmux_fs", __version__)

    def transport(self, transport: BidiTransport) -> BidiTransport:
        """Return a transport whose streams have spans."""
        return TracedTransport(transport, self.tracer, self._ranges)

    def source(self, source: RangeSource) -> RangeSource:
        """Return a source whose ranges have spans."""
        return TracedSource(source, self.tracer, self._ranges)

    def filesystem(self, kind: type[BucketFilesystem]) -> Callable[..., BucketFilesystem]:
        """Return a function that creates a file system of this kind whose operations have spans."""
        if kind is not BucketFilesystem:
            # The methods of `kind` are called first, and call the traced methods.
            return partial(type("_Traced", (kind, TracedFilesystem), {}), tracer=self.tracer)
        return partial(TracedFilesystem, tracer=self.tracer)

    def close(self) -> None:
        """Export the remaining spans, for `_CLOSE_SECONDS` at most."""
        # The method of the SDK may hang in an exporter, so a thread of its own calls it.
        closing = threading.Thread(target=self._provider.shutdown, name="traces", daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)


def new_tracing(names: Sequence[str], environment: Mapping[str, str]) -> Tracing:
    """Return a tracing that sends to the exporters `names`.

    Raises:
        ImportError: an exporter is not installed.
    """
    # OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES have precedence over this default.
    is_named = "OTEL_SERVICE_NAME" in environment or "service.name=" in environment.get(
        "OTEL_RESOURCE_ATTRIBUTES", ""
    )
    attributes = {"service.version": __version__}
    if not is_named:
        attributes["service.name"] = _SERVICE_NAME
    provider = TracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    for name in names:
        provider.add_span_processor(BatchSpanProcessor(_new_exporter(name, environment)))
    log.info("sending traces to the exporters %s", ", ".join(names))
    return Tracing(provider)


def _new_exporter(name: str, environment: Mapping[str, str]) -> SpanExporter:
    candidates = [name]
    if name == "otlp":
        protocol = next((text for each in _PROTOCOLS if (text := environment.get(each))), "")
        candidates = [_OTLP.get(protocol, protocol)] if protocol else list(_OTLP.values())
    for candidate in candidates:
        for entry_point in entry_points(group=_EXPORTERS, name=candidate):
            exporter: SpanExporter = entry_point.load()()
            return exporter
    raise ModuleNotFoundError(f"the exporter {name} is not installed")
