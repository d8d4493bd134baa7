"""Converts the exceptions of operations into errno numbers.

pyfuse3 ends the mount if an operation raises any exception other than FUSEError.
"""

from __future__ import annotations

import errno
import functools
import logging
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyfuse3

from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.model.errors import GcsmuxError, GenerationGone, NotFound, errno_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["fuse_error", "guarded"]

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
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
        log.log(level, "%s: %s: %s", operation, errno.errorcode[number], error)
        return pyfuse3.FUSEError(number)
    log.error(
        "%s: EIO: unexpected exception, please report it as a bug",
        operation,
        exc_info=error,
    )
    return pyfuse3.FUSEError(errno.EIO)


def guarded(
    operation: Callable[Arguments, Coroutine[Any, Any, Answer]],
) -> Callable[Arguments, Coroutine[Any, Any, Answer]]:
    """Wrap an operation, so that each of its exceptions becomes a FUSEError."""

    @functools.wraps(operation)
    async def guard(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return await operation(*args, **kwargs)
        except Exception as error:
            raise fuse_error(operation.__name__, error) from None

    return guard


def _level_of(error: GcsmuxError) -> int:
    if isinstance(error, GenerationGone):
        return logging.INFO  # No failure: the object was overwritten. The program gets ESTALE.
    if isinstance(error, NotFound):
        return logging.DEBUG
    return logging.WARNING
