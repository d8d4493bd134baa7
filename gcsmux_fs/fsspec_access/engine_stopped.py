"""The error of a call to an engine that has stopped. Its import does not load gRPC."""

from __future__ import annotations

__all__ = ["EngineStopped"]


class EngineStopped(Exception):
    """The engine has stopped, or stops now, so the call was not carried out."""
