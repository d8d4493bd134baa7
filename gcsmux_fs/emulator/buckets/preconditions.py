"""Checks the preconditions of requests: expected generations and metagenerations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from gcsmux_fs.emulator.rpc_error import RpcError
from gcsmux_fs.model.errors import StatusCode

if TYPE_CHECKING:
    from gcsmux_fs.emulator.buckets.objects import StoredObject

__all__ = ["Preconditions", "check_condition", "check_generation", "check_preconditions"]


class Preconditions(Protocol):
    """A request with any of the fields `if_[meta]generation_[not_]match`."""

    def HasField(self, field_name: str, /) -> bool:  # noqa: N802
        """Return whether the request sets a field."""


def check_generation(stored: StoredObject, generation: int) -> None:
    """Check that an object has the requested generation; 0 requests any generation.

    Raises:
        RpcError: the object has another generation (NOT_FOUND).
    """
    if generation and generation != stored.generation:
        raise RpcError(
            StatusCode.NOT_FOUND,
            f"No such object: generation {generation}; the current object is {stored}.",
        )


def check_preconditions(
    stored: StoredObject | None,
    conditions: Preconditions,
    not_match_code: StatusCode = StatusCode.FAILED_PRECONDITION,
) -> None:
    """Check the preconditions of a request against an object. A missing object has generation 0.

    `not_match_code` is the status if an `if_..._not_match` condition fails. Methods that read
    objects pass ABORTED, which corresponds to HTTP 304 Not Modified. Google's test server does the
    same.

    Raises:
        RpcError: a condition fails (FAILED_PRECONDITION or `not_match_code`).
    """
    generation = 0 if stored is None else stored.generation
    metageneration = 0 if stored is None else stored.metageneration
    check_condition(conditions, "generation", generation, not_match_code)
    check_condition(conditions, "metageneration", metageneration, not_match_code)


def check_condition(
    conditions: Preconditions, field: str, actual: int, not_match_code: StatusCode
) -> None:
    """Check `if_FIELD_match` and `if_FIELD_not_match` of a request against the number `actual`.

    Raises:
        RpcError: a condition fails (FAILED_PRECONDITION or `not_match_code`).
    """
    match, not_match = f"if_{field}_match", f"if_{field}_not_match"
    if _has(conditions, match) and getattr(conditions, match) != actual:
        raise RpcError(
            StatusCode.FAILED_PRECONDITION,
            f"{match}={getattr(conditions, match)} fails: the {field} is {actual}.",
        )
    if _has(conditions, not_match) and getattr(conditions, not_match) == actual:
        raise RpcError(not_match_code, f"{not_match}={actual} fails: the {field} is {actual}.")


def _has(conditions: Preconditions, field: str) -> bool:
    # Check first that the request type has the field: HasField() fails for an unknown field.
    return hasattr(conditions, field) and conditions.HasField(field)
