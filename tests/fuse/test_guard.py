"""Tests of the errno into which each exception is converted, and of its log line."""

from __future__ import annotations

import errno
import logging

import pyfuse3
import pytest
import trio

from gcsmux_fs.filesystem.operation_refused import OperationRefused
from gcsmux_fs.filesystem.operation_times import OperationTimes
from gcsmux_fs.fuse.guard import fuse_error, guarded
from gcsmux_fs.metrics.histogram import Histogram
from gcsmux_fs.metrics.registry import Registry
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
    # A mount that could not start serves no program, so these errors have no errno.
    classes -= {errors.GcsmuxError, errors.CredentialsError, errors.TransientError}
    assert classes == {type(error) for error in ERRNOS} - {NoSuchEntry}


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


class Operations:
    """Operations of a mount. Only real operations are measured, so these have real names."""

    def __init__(self) -> None:
        self.times = OperationTimes()

    @guarded
    async def open(self) -> None:
        raise ZeroDivisionError

    @guarded
    async def lookup(self) -> None:
        await trio.sleep_forever()

    @guarded
    async def release(self) -> None:
        """Succeed."""


@pytest.mark.expects_log("open: EIO: unexpected exception")
async def test_an_unexpected_exception_becomes_eio_and_is_logged_with_its_traceback(
    caplog: pytest.LogCaptureFixture,
) -> None:
    with pytest.raises(pyfuse3.FUSEError) as raised:
        await Operations().open()
    assert raised.value.errno == errno.EIO
    assert "ZeroDivisionError" in caplog.text


async def test_a_cancelled_operation_is_not_answered() -> None:
    with trio.move_on_after(1) as scope:
        await Operations().lookup()
    assert scope.cancelled_caught


@pytest.mark.expects_log("open: EIO: unexpected exception")
async def test_operations_and_their_errors_are_counted() -> None:
    operations, registry, reads = Operations(), Registry(), Histogram()
    operations.times.declare_metrics(registry, (reads, reads))
    reads.observe(0.5)
    await operations.release()
    for _ in range(2):
        with pytest.raises(pyfuse3.FUSEError):
            await operations.open()
    counts = {
        labels[0][1]: value.count
        for metric, values in registry.metrics()
        for labels, value in values.items()
        if isinstance(value, Histogram) and value.count
    }
    assert counts == {"release": 1, "open": 2, "read": 1}
    assert registry.value("fs_op_errors", op="open", errno="EIO") == 2
    assert registry.value("fs_op_errors", op="release", errno="EIO") == 0
