"""The timeouts of streams and unary calls, derived from --read-timeout."""

from __future__ import annotations

from gcsmux_fs.mux.retry import RetryPolicy
from gcsmux_fs.storage.availability import STREAM_SILENCE_SECONDS
from gcsmux_fs.storage.unary_calls import UnaryPolicy

__all__ = ["stream_policy", "unary_policy"]

# The longest backoff is the read timeout divided by `_BACKOFFS_PER_READ_TIMEOUT`, but at least
# `_MIN_BACKOFF_LIMIT_SECONDS`.
_MIN_BACKOFF_LIMIT_SECONDS = 0.5
_BACKOFFS_PER_READ_TIMEOUT = 12


def unary_policy(read_timeout: float) -> UnaryPolicy:
    """Derive the timeouts of unary calls. An attempt without an answer leaves time for a retry."""
    default = UnaryPolicy()
    return UnaryPolicy(
        total_seconds=read_timeout,
        attempt_seconds=min(default.attempt_seconds, read_timeout / 2),
        max_backoff_seconds=min(default.max_backoff_seconds, _backoff_limit(read_timeout)),
    )


def stream_policy(read_timeout: float) -> RetryPolicy:
    """Derive the timeouts of streams. A stream without an answer leaves time for a retry.

    If the read timeout permits it, an opening stream waits at least 21 s for its first response,
    because the mount falls back to ReadObject only after 20 s without a response (see
    `STREAM_SILENCE_SECONDS`).
    """
    default = RetryPolicy()
    fallback_seconds = STREAM_SILENCE_SECONDS + 1.0
    open_seconds = read_timeout / 2
    if read_timeout >= fallback_seconds:
        open_seconds = max(fallback_seconds, open_seconds)
    return RetryPolicy(
        max_backoff_seconds=min(default.max_backoff_seconds, _backoff_limit(read_timeout)),
        give_up_seconds=read_timeout,
        open_seconds=min(default.open_seconds, open_seconds),
        stall_seconds=min(default.stall_seconds, read_timeout / 4),
    )


def _backoff_limit(read_timeout: float) -> float:
    """Return the upper bound of a backoff. A READ may wait this long after an outage has ended."""
    return max(_MIN_BACKOFF_LIMIT_SECONDS, read_timeout / _BACKOFFS_PER_READ_TIMEOUT)
