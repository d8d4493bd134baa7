"""The checks of `gcsmux doctor`: their order, what each check needs, and the form of a result."""

from __future__ import annotations

import enum
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "CHECKS",
    "Check",
    "CheckResult",
    "Finding",
    "failure",
    "healthy",
    "late",
    "skip_reason",
    "skipped",
    "warning",
]


class CheckResult(enum.StrEnum):
    """The result of a check. Only FAILURE means that a mount or --changes would not work."""

    OK = "ok"
    WARNING = "warning"
    FAILURE = "failure"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Finding:
    """What a check found.

    `detail` is a sentence without the final full stop. `remedy` says what to do; it is empty if
    there is nothing to do.
    """

    result: CheckResult
    detail: str
    remedy: str = ""


def healthy(detail: str) -> Finding:
    """Return a finding that needs no action."""
    return Finding(CheckResult.OK, detail)


def warning(detail: str, remedy: str) -> Finding:
    """Return a finding with which a mount works, but slower or with a restriction."""
    return Finding(CheckResult.WARNING, detail, remedy)


def failure(detail: str, remedy: str) -> Finding:
    """Return a finding with which a mount does not work."""
    return Finding(CheckResult.FAILURE, detail, remedy)


def skipped(reason: str) -> Finding:
    """Return the finding of a check that was not made."""
    return Finding(CheckResult.SKIPPED, reason)


def late(seconds: float) -> Finding:
    """Return the finding of a check that did not end before its deadline."""
    return failure(
        f"no answer within {seconds:g} s",
        "repeat the command; if the answer is only slow, raise the limit with --timeout",
    )


@dataclass(frozen=True, slots=True)
class Check:
    """One check: its name for programs, its title for people, the checks that must not fail before.

    The check is skipped if one of `needs` has failed or was skipped.
    """

    name: str
    title: str
    needs: tuple[str, ...] = ()


CHECKS: tuple[Check, ...] = (
    # This machine.
    Check("fuse", "FUSE"),
    Check("other_users", "other users"),
    Check("mount_point", "mount point"),
    Check("open_files", "open files"),
    Check("memory", "memory"),
    Check("kernel", "kernel"),
    Check("read_ahead", "readahead"),
    Check("cache", "disk cache"),
    # The network.
    Check("proxy", "HTTP proxy"),
    Check("name", "host name", needs=("proxy",)),
    Check("connection", "connection", needs=("name",)),
    Check("tls", "TLS", needs=("connection",)),
    Check("clock", "clock", needs=("connection",)),
    # The identity.
    Check("credentials", "credentials"),
    Check("token", "access token", needs=("credentials",)),
    # The bucket.
    Check("service", "service", needs=("tls", "token")),
    Check("billing", "billing", needs=("service",)),
    Check("bucket", "bucket", needs=("billing",)),
    Check("list", "listing", needs=("bucket",)),
    Check("get", "reading", needs=("bucket",)),
    # The bytes.
    Check("streams", "streams", needs=("get",)),
    Check("round_trip", "round trip", needs=("streams",)),
    Check("rate", "rate", needs=("round_trip",)),
    Check("direct_path", "DirectPath", needs=("service",)),
    # The changes.
    Check("subscription", "changes", needs=("bucket",)),
    Check("notifications", "notifications", needs=("subscription",)),
    Check("lag", "lag", needs=("subscription",)),
)
"""All checks, in the order of the way from the kernel of this machine to the bytes."""

_TITLES = {check.name: check.title for check in CHECKS}


def skip_reason(check: Check, results: Mapping[str, CheckResult]) -> str | None:
    """Return why `check` cannot be made after these results of earlier checks; None if it can."""
    for name in check.needs:
        if results[name] is CheckResult.FAILURE:
            return f"not checked, because the check {_TITLES[name]!r} failed"
        if results[name] is CheckResult.SKIPPED:
            return f"not checked, because the check {_TITLES[name]!r} was skipped"
    return None
