"""Decides from OpenTelemetry's environment variables whether to trace, and starts the tracing.

The variables and their meaning are those of the OpenTelemetry SDK
(https://opentelemetry.io/docs/languages/sdk-configuration). Tracing is off unless a variable names
an exporter or an endpoint. While it is off, this module imports nothing of OpenTelemetry, and no
code of a READ differs.
"""

from __future__ import annotations

import logging
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from gcsmux_fs.tracing.tracer_provider import Tracing

__all__ = ["exporter_names", "start_tracing"]

log = logging.getLogger(__name__)

_ENDPOINTS = ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "OTEL_EXPORTER_OTLP_ENDPOINT")


def exporter_names(environment: Mapping[str, str]) -> list[str]:
    """Return the names of the exporters to which traces go; an empty list if tracing is off."""
    if environment.get("OTEL_SDK_DISABLED", "").strip().lower() == "true":
        return []
    text = environment.get("OTEL_TRACES_EXPORTER", "")
    if not text.strip():
        text = "otlp" if any(environment.get(name) for name in _ENDPOINTS) else ""
    names = [name.strip() for name in text.split(",")]
    return [name for name in names if name and name != "none"]


@contextmanager
def start_tracing(environment: Mapping[str, str]) -> Iterator[Tracing | None]:
    """Trace during the block, if `environment` asks for it; yield None if nothing is traced.

    If tracing cannot start, a warning is logged. The last spans are exported at the end of the
    block, for which all streams must have ended.
    """
    tracing = _new_tracing(environment)
    try:
        yield tracing
    finally:
        if tracing is not None:
            tracing.close()


def _new_tracing(environment: Mapping[str, str]) -> Tracing | None:
    names = exporter_names(environment)
    if not names:
        return None
    try:
        from gcsmux_fs.tracing.tracer_provider import new_tracing

        return new_tracing(names, environment)
    except ImportError as error:
        log.warning(
            "no traces are sent, because a package is missing (%s): install opentelemetry-sdk and"
            " an exporter such as opentelemetry-exporter-otlp, or unset OTEL_TRACES_EXPORTER and"
            " OTEL_EXPORTER_OTLP_ENDPOINT",
            error,
        )
    except Exception as error:
        log.warning("no traces are sent, because OpenTelemetry cannot be configured: %s", error)
    return None
