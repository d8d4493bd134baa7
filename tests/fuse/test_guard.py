"""Tests of the errno into which each exception is converted, and of its log line."""

from __future__ import annotations

import errno
import logging

import pyfuse3
import pytest
import trio

from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.fuse.guard import fuse_error, guarded
from gcsmux_fs.model import errors
from gcsmux_fs.namespace.entry import NoSuchEntry

ERRNOS = {
    errors.ConfigError("message"): errno.EIO,
    errors.MountLost("message"): errno.EIO,
    errors.StorageError("message"): errno.EIO,
    errors.NotFound("message"): errno.ENOENT,
    NoSuchEntry("name", 0.0): errno.ENOENT,
    errors.GenerationGone("message"): errno.ESTALE,
    errors.PermissionDenied("message"): errno.EACCES,
    errors.Unauthenticated("message"): errno.EACCES,
    errors.PreconditionFailed("message"): errno.ESTALE,
    errors.RangeUnsatisfiable("message"): errno.EIO,
    errors.InvalidRequest("message"): errno.EINVAL,
    errors.Unsupported("message"): errno.ENOTSUP,
    errors.DataCorruption("message"): errno.EIO,
    errors.Unavailable("message"): errno.EIO,
    errors.DeadlineExceeded("message"): errno.ETIMEDOUT,
}


def all_error_classes(root: type[errors.GcsmuxError]) -> set[type[errors.GcsmuxError]]:
    below = {name for each in root.__subclasses__() for name in all_error_classes(each)}
    return {root} | below


def test_each_error_class_of_the_model_is_listed_here() -> None:
    public = {getattr(errors, name) for name in errors.__all__}
    classes = all_error_classes(errors.GcsmuxError) & public
    assert classes - {errors.GcsmuxError} == {type(error) for error in ERRNOS} - {NoSuchEntry}


@pytest.mark.expects_log("read: E")
@pytest.mark.parametrize(("error", "number"), ERRNOS.items(), ids=lambda case: type(case).__name__)
def test_an_error_becomes_its_errno(error: errors.GcsmuxError, number: int) -> None:
    assert fuse_error("read", error).errno == number


def test_a_refusal_becomes_its_errno_without_a_log_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    assert fuse_error("open", OperationRefused(errno.EROFS)).errno == errno.EROFS
    assert caplog.records == []


def test_a_fuse_error_stays_as_it_is() -> None:
    error = pyfuse3.FUSEError(errno.ENOSYS)
    assert fuse_error("flush", error) is error


@pytest.mark.expects_log("open: ETIMEDOUT")
@pytest.mark.parametrize(
    ("error", "level", "line"),
    [
        (errors.NotFound("none", subject="a"), logging.DEBUG, "open: ENOENT: a: none"),
        (errors.GenerationGone("gone", subject="a"), logging.INFO, "open: ESTALE: a: gone"),
        (errors.DeadlineExceeded("late", subject="a"), logging.WARNING, "open: ETIMEDOUT: a: late"),
    ],
)
def test_the_log_level_depends_on_who_must_act(
    caplog: pytest.LogCaptureFixture, error: errors.GcsmuxError, level: int, line: str
) -> None:
    caplog.set_level(logging.DEBUG)
    fuse_error("open", error)
    assert [(record.levelno, record.getMessage()) for record in caplog.records] == [(level, line)]


@pytest.mark.expects_log("fail: EIO: unexpected exception")
async def test_an_unexpected_exception_becomes_eio_and_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    @guarded
    async def fail() -> None:
        raise ZeroDivisionError

    with pytest.raises(pyfuse3.FUSEError) as raised:
        await fail()
    assert raised.value.errno == errno.EIO
    assert "ZeroDivisionError" in caplog.text


async def test_a_cancelled_operation_is_not_answered() -> None:
    @guarded
    async def wait() -> None:
        await trio.sleep_forever()

    with trio.move_on_after(1) as scope:
        await wait()
    assert scope.cancelled_caught
