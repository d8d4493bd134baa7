"""Starts and ends the HTTP server of a mount, with the pages /metrics, /healthz and /readyz."""

from __future__ import annotations

import logging
import platform
from contextlib import contextmanager
from http import HTTPStatus
from importlib.metadata import version
from typing import TYPE_CHECKING

from gcsmux_fs import __version__
from gcsmux_fs.exporters.http_messages import HttpRequest, HttpResponse
from gcsmux_fs.exporters.metrics_server import MetricsServer
from gcsmux_fs.process.logs import printable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from gcsmux_fs.exporters.mount_health import MountHealth
    from gcsmux_fs.metrics.registry import Registry
    from gcsmux_fs.settings.settings import Settings

__all__ = ["serving_metrics"]

log = logging.getLogger(__name__)


@contextmanager
def serving_metrics(settings: Settings, metrics: Registry, health: MountHealth) -> Iterator[None]:
    """Serve the metrics and the health of a mount, if `settings.metrics_listen` names an address.

    Raises:
        ConfigError: the address cannot be used.
    """
    if settings.metrics_listen is None:
        yield
        return
    pages = {
        "/metrics": _metrics_page(settings, metrics),
        "/healthz": _health_page(health.problem, "the mount is alive"),
        "/readyz": _health_page(health.obstacle, "the mount is ready"),
    }
    server = MetricsServer(settings.metrics_listen, pages)
    try:
        server.start()
        log.info("serving metrics on http://%s/metrics", server.address)
        yield
    finally:
        server.close()


def _metrics_page(settings: Settings, metrics: Registry) -> Callable[[HttpRequest], HttpResponse]:
    # prometheus_client is imported here, because its import takes 0.05 s, and most mounts do not
    # serve metrics.
    from prometheus_client import CollectorRegistry, ProcessCollector
    from prometheus_client.exposition import choose_encoder

    from gcsmux_fs.exporters.prometheus_collector import MetricsCollector

    collectors = CollectorRegistry(auto_describe=False)
    collectors.register(MetricsCollector(metrics, _constants(settings)))
    ProcessCollector(registry=collectors)

    def page(request: HttpRequest) -> HttpResponse:
        encode, content_type = choose_encoder(request.accept)
        return HttpResponse(HTTPStatus.OK, encode(collectors), content_type)

    return page


def _constants(settings: Settings) -> dict[str, tuple[str, dict[str, str]]]:
    return {
        "build": (
            "Versions of this program and of the libraries that matter.",
            {
                "version": __version__,
                "python": platform.python_version(),
                **{name: version(name) for name in ("grpcio", "pyfuse3")},
            },
        ),
        "mount": (
            "What is mounted, and where.",
            {
                "bucket": settings.bucket,
                "prefix": printable(settings.prefix),
                "mountpoint": printable(str(settings.mountpoint)),
            },
        ),
    }


def _health_page(
    find_problem: Callable[[], str], all_is_well: str
) -> Callable[[HttpRequest], HttpResponse]:
    def page(_request: HttpRequest) -> HttpResponse:
        problem = find_problem()
        if problem:
            return HttpResponse(HTTPStatus.SERVICE_UNAVAILABLE, f"{problem}\n".encode())
        return HttpResponse(HTTPStatus.OK, f"{all_is_well}\n".encode())

    return page
