"""The one place where errors become errno: a decorator around every operation.

pyfuse3 ends the whole mount when a handler raises anything but FUSEError, so nothing else may pass.
"""

from __future__ import annotations

import errno
import functools
import logging
from typing import TYPE_CHECKING, Any, ParamSpec, TypeVar

import pyfuse3

from gcsmux_fs.model.errors import GcsmuxError, GenerationGone, NotFound, errno_of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

__all__ = ["answered"]

log = logging.getLogger(__name__)

Arguments = ParamSpec("Arguments")
Answer = TypeVar("Answer")


def answered(
    operation: Callable[Arguments, Coroutine[Any, Any, Answer]],
) -> Callable[Arguments, Coroutine[Any, Any, Answer]]:
    """Turn every exception of `operation` into a FUSEError and, where it matters, a log line."""

    @functools.wraps(operation)
    async def guard(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Answer:
        try:
            return await operation(*args, **kwargs)
        except pyfuse3.FUSEError:
            raise
        except GcsmuxError as error:
            level = logging.WARNING
            if isinstance(error, GenerationGone):
                level = logging.INFO  # the object was overwritten: the reader learns it by ESTALE
            elif isinstance(error, NotFound):
                level = logging.DEBUG
            number = errno_of(error)
            log.log(level, "%s: %s: %s", operation.__name__, errno.errorcode[number], error)
            raise pyfuse3.FUSEError(number) from None
        except Exception:
            log.exception("%s failed unexpectedly", operation.__name__)
            raise pyfuse3.FUSEError(errno.EIO) from None

    return guard
