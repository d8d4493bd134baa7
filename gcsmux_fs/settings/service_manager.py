"""Finds out whether systemd, the service manager, has started this process as a service."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = ["is_service"]


def is_service(environment: Mapping[str, str]) -> bool:
    """Return whether systemd runs this process as a service of type notify (sd_notify(3))."""
    return bool(environment.get("NOTIFY_SOCKET"))
