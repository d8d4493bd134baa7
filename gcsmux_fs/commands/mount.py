"""`gcsmux-mount`: failures become one sentence and an exit code.

Nothing here imports gRPC or pyfuse3, so that `--help` and a mistake are answered at once, and so
that the process that starts the serving one never has gRPC in it. Exit codes: 0 mounted (in the
foreground: mounted, and unmounted again), 1 a failure of the machine or the service, 2 a command
that cannot be meant.
"""

from __future__ import annotations

import logging
import os
import signal
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.arguments import PROGRAM, mount_arguments
from gcsmux_fs.commands.click_command import long_options
from gcsmux_fs.commands.mount_options import nearest
from gcsmux_fs.fuse.device import check_fuse_access
from gcsmux_fs.fuse.mountpoint import claim_mountpoint
from gcsmux_fs.model.errors import ConfigError, GcsmuxError
from gcsmux_fs.process.core_dumps import forbid_core_dumps
from gcsmux_fs.process.daemon import StartFailed, command_for, start
from gcsmux_fs.process.logs import configure_logging, sentence
from gcsmux_fs.process.readiness import (
    ForegroundAnnouncer,
    PipeAnnouncer,
    ReleasingAnnouncer,
    inherited_pipe,
)
from gcsmux_fs.process.standard_streams import tell
from gcsmux_fs.settings.settings import Settings

if TYPE_CHECKING:
    from collections.abc import MutableMapping, Sequence

    from gcsmux_fs.process.readiness import Announcer

__all__ = ["make_paths_absolute", "run"]

log = logging.getLogger(__name__)

_FAILURE_EXIT_CODE = 1
_USAGE_EXIT_CODE = 2

# What google-auth, gRPC, requests and OpenSSL take from the environment as the path of a file or
# a directory, and look at only when they connect or renew a token.
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
    """Run `gcsmux-mount` and return its exit code; whatever fails is told in one sentence."""
    try:
        settings = mount_arguments.main(list(arguments), prog_name=PROGRAM, standalone_mode=False)
    except ConfigError as error:
        return _tell(str(error), _USAGE_EXIT_CODE)
    except click.ClickException as error:
        return _tell(_sentence(error, arguments), _USAGE_EXIT_CODE)
    except OSError as error:
        return _tell(f"stdout cannot be written to: {error.strerror}", _FAILURE_EXIT_CODE)
    if not isinstance(settings, Settings):
        return 0  # --help or --version has been answered.
    pipe = inherited_pipe()
    if pipe is not None:
        make_paths_absolute(os.environ)
        os.chdir("/")
        return _serve(settings, PipeAnnouncer(pipe, settings.log_file), detached=True)
    if settings.foreground:
        return _serve(settings, ForegroundAnnouncer(PROGRAM), detached=False)
    try:
        remark = start(command_for(arguments), settings.mountpoint)
    except StartFailed as error:
        return _tell(str(error), error.exit_code)
    return _tell(remark, 0) if remark else 0


def make_paths_absolute(environment: MutableMapping[str, str]) -> None:
    """Let what the environment names relative to this directory be found from another one."""
    for name in _PATH_VARIABLES:
        if path := environment.get(name):
            environment[name] = os.fspath(Path(path).absolute())


def _serve(settings: Settings, announcer: Announcer, *, detached: bool) -> int:
    """Serve the mount until it ends; the announcer hears whatever keeps it from starting."""
    try:
        # It asks for counters; while there are none, at the start and at the end, it would kill.
        signal.signal(signal.SIGUSR1, signal.SIG_IGN)
        configure_logging(settings, detached=detached)
        if not forbid_core_dumps():
            log.debug("core dumps cannot be forbidden")
        # libfuse turns allow_root into allow_other, and refuses others by itself.
        check_fuse_access(allow_other=settings.allow_other or "allow_root" in settings.fuse_options)
        with claim_mountpoint(settings.mountpoint) as claim:
            # gRPC repeats on stderr what its errors say anyway; it reads this when it is loaded.
            os.environ.setdefault("GRPC_VERBOSITY", "ERROR")
            # Only a process that serves loads gRPC and pyfuse3: a third of a second.
            from gcsmux_fs.mounting import serve

            return serve(
                replace(settings, mountpoint=claim.path),
                ReleasingAnnouncer(announcer, claim.release),
            )
    except GcsmuxError as error:
        announcer.failed(str(error), _FAILURE_EXIT_CODE)
    except Exception as error:
        log.exception("the mount ended by an error of its own")
        announcer.failed(f"internal error, please report it: {error!r}", _FAILURE_EXIT_CODE)
    return _FAILURE_EXIT_CODE


def _tell(reason: str, exit_code: int) -> int:
    tell(f"{PROGRAM}: {sentence(reason)}")
    return exit_code


def _sentence(error: click.ClickException, arguments: Sequence[str]) -> str:
    """Return click's complaint as one sentence that names the option as it was written."""
    if isinstance(error, click.NoSuchOption):
        return _unknown_option(error.option_name, arguments)
    if isinstance(error, click.MissingParameter) and error.param is not None:
        missing = error.param.human_readable_name.upper()
        return f"{missing} is missing: write {PROGRAM} [OPTIONS] BUCKET MOUNTPOINT."
    if isinstance(error, click.BadParameter) and error.param is not None:
        return f"{error.param.opts[-1]}: {error.message}"
    message = error.format_message()
    return message[:1].lower() + message[1:]


def _unknown_option(name: str, arguments: Sequence[str]) -> str:
    """Name the option that was meant; click sees `-memory` as `-m`, the user does not."""
    written = next((text.partition("=")[0] for text in arguments if text.startswith(name)), name)
    known = [*long_options(mount_arguments), "help"]
    guess = nearest(written.lstrip("-").replace("_", "-"), known)
    hint = f"did you mean --{guess}?" if guess else "--help lists what there is."
    return f"unknown option {written}: {hint}"
