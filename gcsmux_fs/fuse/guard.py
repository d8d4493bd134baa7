"""Measures operations, and converts their exceptions into errno numbers.

pyfuse3 ends the mount if an operation raises any exception other than FUSEError.
"""

from __future__ import annotations

import errno
import functools
import logging
from time import perf_counter
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, Protocol, TypeVar

import pyfuse3

from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.model.errors import GcsmuxError, GenerationGone, NotFound, errno_of
from gcsmux_fs.process.log_storms import kind_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from gcsmux_fs.filesystem.operation_times import OperationTimes

__all__ = ["Timed", "failure", "fuse_error", "guarded"]

log = logging.getLogger(__name__)


class Timed(Protocol):
    """An object whose operations are measured."""

    times: OperationTimes


Arguments = ParamSpec("Arguments")
Owner = TypeVar("Owner", bound=Timed)
Answer = TypeVar("Answer")


def fuse_error(operation: str, error: Exception) -> pyfuse3.FUSEError:
    """Return the FUSEError for an exception of `operation`, and log the exception.

    A FUSEError or an OperationRefused is not logged. An exception that this program does not
    raise on purpose becomes EIO.
    """
    if isinstance(error, pyfuse3.FUSEError):
        return error
    if isinstance(error, OperationRefused):
        return pyfuse3.FUSEError(error.errno)
    if isinstance(error, GcsmuxError):
        number = errno_of(error)
        level = _level_of(error)
        name = errno.errorcode[number]
        log.log(level, "%s: %s: %s", operation, name, error, extra=kind_of(operation, name))
        return pyfuse3.FUSEError(number)
    log.error(
        "%s: EIO: unexpected exception, please report it as a bug",
        operation,
        exc_info=error,
    )
    return pyfuse3.FUSEError(errno.EIO)


def failure(times: OperationTimes, operation: str, error: Exception) -> pyfuse3.FUSEError:
    """Return the FUSEError for an exception of `operation`, and count it in `times`."""
    fuse = fuse_error(operation, error)
    times.note_error(operation, fuse.errno)
    return fuse


def guarded(
    operation: Callable[Concatenate[Owner, Arguments], Coroutine[Any, Any, Answer]],
) -> Callable[Concatenate[Owner, Arguments], Coroutine[Any, Any, Answer]]:
    """Wrap an operation: measure it, and turn each of its exceptions into a FUSEError."""
    name = operation.__name__

    @functools.wraps(operation)
    async def guard(owner: Owner, /, *args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        began = perf_counter()
        try:
            return await operation(owner, *args, **kwargs)
        except Exception as error:
            raise failure(owner.times, name, error) from None
        finally:
            owner.times.seconds[name].observe(perf_counter() - began)

    return guard


def _level_of(error: GcsmuxError) -> int:
    if isinstance(error, GenerationGone):
        return logging.INFO  # No failure: the object was overwritten. The program gets ESTALE.
    if isinstance(error, NotFound):
        return logging.DEBUG
    return logging.WARNING
