"""The command `gcsmux-mount`: starts the mount process, or with -f serves the mount itself.

This module imports neither gRPC nor pyfuse3, for two reasons. `--help` and usage errors are
answered fast. The process that starts the mount process never loads gRPC, because a process that
has loaded gRPC must not fork.

Exit codes: 0 after a successful mount (with -f: after the unmount), 1 after a failure that may end
by itself, such as an outage, 2 after a usage error, 78 after a failure that only a change of the
settings, the bucket or the machine can end, such as a missing bucket. 78 is EX_CONFIG in
sysexits.h. The systemd unit does not retry after 2 and 78.
"""

from __future__ import annotations

import functools
import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.click_command import usage_error
from gcsmux_fs.commands.mount_arguments import PROGRAM, mount_arguments
from gcsmux_fs.fuse.device import check_fuse_access
from gcsmux_fs.fuse.mountpoint import (
    answers,
    claim_mountpoint,
    clear_dead_mounts,
    own_mounts,
)
from gcsmux_fs.model.errors import ConfigError, GcsmuxError, is_permanent
from gcsmux_fs.process.core_dumps import disable_core_dumps
from gcsmux_fs.process.daemon import START_SECONDS, StartFailed, serving_command, start
from gcsmux_fs.process.log_destinations import configure_logging
from gcsmux_fs.process.logs import sentence
from gcsmux_fs.process.process_name import set_process_name
from gcsmux_fs.process.readiness import (
    ForegroundReporter,
    PipeReporter,
    inherited_pipe,
    print_failure,
)
from gcsmux_fs.process.sd_notify import notify
from gcsmux_fs.process.standard_streams import has_terminal, print_error
from gcsmux_fs.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from gcsmux_fs.process.readiness import ReadinessReporter

__all__ = ["make_paths_absolute", "run"]

log = logging.getLogger(__name__)

_FAILURE_EXIT_CODE = 1
_USAGE_EXIT_CODE = 2
_PERMANENT_EXIT_CODE = 78

# The environment variables from which google-auth, gRPC, requests and OpenSSL read paths. Some of
# these libraries read a variable only when they connect or renew a token, which is after the mount
# process has changed its directory.
_PATH_VARIABLES = (
    "CLOUDSDK_CONFIG",
    "CURL_CA_BUNDLE",
    "GOOGLE_API_CERTIFICATE_CONFIG",
    "GOOGLE_APPLICATION_CREDENTIALS",
    "GRPC_DEFAULT_SSL_ROOTS_FILE_PATH",
    "REQUESTS_CA_BUNDLE",
    "SSL_CERT_DIR",
    "SSL_CERT_FILE",
)


def run(arguments: Sequence[str]) -> int:
    """Run `gcsmux-mount` and return its exit code; print a failure as one sentence."""
    try:
        settings = mount_arguments.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except ConfigError as error:
        return _fail(str(error), _USAGE_EXIT_CODE)
    except click.ClickException as error:
        reason = usage_error(error, mount_arguments, PROGRAM, arguments)
        return _fail(reason, _USAGE_EXIT_CODE)
    except OSError as error:
        return _fail(f"stdout cannot be written: {error.strerror}", _FAILURE_EXIT_CODE)
    if not isinstance(settings, Settings):
        return 0  # Click has printed --help or --version.
    if settings.clear:
        return _clear(settings)
    pipe = inherited_pipe()
    if pipe is not None:
        make_paths_absolute(os.environ)
        os.chdir("/")
        return _serve(settings, PipeReporter(pipe, settings.log_file), detached=True)
    if settings.foreground:
        reporter = ForegroundReporter(PROGRAM, settings.source, settings.mountpoint)
        return _serve(settings, reporter, detached=False)
    return _start(settings, arguments)


def make_paths_absolute(environment: MutableMapping[str, str]) -> None:
    """Make paths in `_PATH_VARIABLES` absolute, because the process then changes to `/`."""
    for name in _PATH_VARIABLES:
        if path := environment.get(name):
            environment[name] = os.fspath(Path(path).absolute())


def _start(settings: Settings, arguments: Sequence[str]) -> int:
    """Start a detached mount process, and print the warning that the process reports, if any."""
    try:
        warning = start(
            serving_command(arguments),
            mountpoint=settings.mountpoint,
            answers=functools.partial(answers, settings.mountpoint),
            clear=functools.partial(clear_dead_mounts, settings.mountpoint, keep=own_mounts()),
            timeout_seconds=START_SECONDS + settings.start_timeout_seconds,
        )
    except StartFailed as error:
        return _fail(str(error), error.exit_code)
    if warning:
        print_error(f"{PROGRAM}: {sentence(warning)}")
    return 0


def _clear(settings: Settings) -> int:
    """Remove the dead mounts at the mount point."""
    try:
        clear_dead_mounts(settings.mountpoint)
    except ConfigError as error:
        return _fail(str(error), _FAILURE_EXIT_CODE)
    return 0


def _serve(settings: Settings, reporter: ReadinessReporter, *, detached: bool) -> int:
    """Serve the mount until it ends; report every failure to `reporter`."""
    try:
        # SIGUSR1 makes a mount log its statistics, and SIGHUP makes a mount without a terminal
        # reload. While nothing is mounted, both are ignored, because their default action would
        # end the process.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        if detached or not has_terminal():
            signal.signal(signal.SIGHUP, signal.SIG_IGN)
        set_process_name(PROGRAM)
        configure_logging(settings, detached=detached)
        if not disable_core_dumps():
            log.debug("core dumps cannot be disabled: prctl(PR_SET_DUMPABLE) failed")
        # allow_root needs the same permission as allow_other, because libfuse passes allow_root to
        # the kernel as allow_other. libfuse itself then refuses users other than root and the
        # owner.
        check_fuse_access(allow_other=settings.allow_other or "allow_root" in settings.fuse_options)
        with claim_mountpoint(settings.mountpoint) as claim:
            # gRPC reads this variable when gRPC is loaded. The value ERROR suppresses log messages
            # whose text is also in the exceptions of gRPC.
            os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
            # Imported here, because loading gRPC and pyfuse3 takes a third of a second, and only a
            # mount process needs them.
            from gcsmux_fs.mounting import serve

            return serve(replace(settings, mountpoint=claim.path), claim, reporter)
    except GcsmuxError as error:
        exit_code = _exit_code(error)
        reporter.failed(str(error), exit_code)
    except Exception as error:
        log.exception("the mount of %s ended with an internal error", settings.source)
        exit_code = _FAILURE_EXIT_CODE
        reporter.failed(f"internal error, please report it: {error!r}", exit_code)
    return exit_code


def _exit_code(error: GcsmuxError) -> int:
    return _PERMANENT_EXIT_CODE if is_permanent(error) else _FAILURE_EXIT_CODE


def _fail(reason: str, exit_code: int) -> int:
    text = sentence(reason)
    notify(f"STATUS={text}")
    print_failure(PROGRAM, text)
    return exit_code
