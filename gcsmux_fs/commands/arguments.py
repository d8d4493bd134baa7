"""The arguments of `gcsmux-mount`: what they are called, and how they become Settings."""

from __future__ import annotations

import os
import re
from pathlib import Path

import click

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import MountCommand, read_by
from gcsmux_fs.commands.mount_options import check_options
from gcsmux_fs.commands.owners import parse_group, parse_user
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.defaults import (
    DEFAULT_ENDPOINT,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_READ_AHEAD_BYTES,
    DEFAULT_READ_TIMEOUT_SECONDS,
)
from gcsmux_fs.settings.settings import (
    EMULATOR_VARIABLE,
    LOG_LEVELS,
    Settings,
    parse_bucket,
    read_ahead_for,
    resolve_connection,
)
from gcsmux_fs.settings.units import parse_duration, parse_mode, parse_size, parse_ttl, show_size

__all__ = ["PROGRAM", "mount_arguments"]

PROGRAM = "gcsmux-mount"

# `--help` shows the options under these headings.
_HEADINGS = {
    "What to mount": ("only_dir",),
    "The service": ("endpoint", "plaintext", "anonymous", "key_file", "billing_project"),
    "What programs see": (
        "uid",
        "gid",
        "file_mode",
        "dir_mode",
        "posix",
        "allow_other",
        "metadata_ttl",
        "negative_ttl",
    ),
    "Reading": ("memory", "read_ahead", "read_timeout", "kernel_read_ahead"),
    "Running": ("foreground", "mount_options", "log_file", "log_level"),
}


def _absolute(text: str) -> Path:
    try:
        return Path(text).absolute()
    except OSError as error:
        raise ConfigError(
            f"{text!r} is beneath the current directory, which is gone ({error.strerror}): write"
            " the whole path."
        ) from None


def _readable_file(text: str) -> Path:
    path = _absolute(text)
    try:
        with path.open("rb") as file:
            file.read(1)
    except OSError as error:
        raise ConfigError(f"{text!r} cannot be read: {error.strerror}.") from None
    return path


def _project(text: str) -> str:
    if not re.fullmatch(r"[A-Za-z0-9:.-]+", text):
        raise ConfigError(
            f"{text!r} is not a project: write its id or number, such as my-project-1."
        )
    return text


def _seconds(seconds: float) -> str:
    return f"{seconds:g}s"


@click.command(
    cls=MountCommand,
    headings=_HEADINGS,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    options_metavar="[OPTIONS]",
    add_help_option=True,
)
@click.argument("bucket", metavar="BUCKET")
@click.argument("mountpoint", metavar="MOUNTPOINT")
@click.option(
    "--only-dir",
    metavar="PREFIX",
    default="",
    help="Mount this folder of the bucket instead of all of it; also as gs://name/prefix.",
)
@click.option(
    "--endpoint",
    metavar="HOST:PORT",
    help=f"Where the service is.  [default: {DEFAULT_ENDPOINT}, the public one]",
)
@click.option(
    "--plaintext",
    is_flag=True,
    help="Speak without TLS; only with --anonymous, as credentials are never sent in plaintext.",
)
@click.option(
    "--anonymous",
    is_flag=True,
    help="Use no credentials: for public buckets and emulators. Without it, Application Default"
    " Credentials are looked up where Google's own tools look.",
)
@click.option(
    "--key-file",
    metavar="FILE",
    callback=read_by(_readable_file),
    help="Use this file's credentials (a service account's JSON key) instead.",
)
@click.option(
    "--billing-project",
    metavar="PROJECT",
    default="",
    callback=read_by(lambda text: _project(text) if text else ""),
    help="The project that pays, where the bucket makes its readers pay.",
)
@click.option(
    "--metadata-ttl",
    metavar="DURATION|minimal|indefinite",
    default=_seconds(DEFAULT_METADATA_TTL_SECONDS),
    show_default=True,
    callback=read_by(parse_ttl),
    help="How long names, sizes and times are believed: changes made elsewhere show after it."
    " minimal is 1s, just enough for one `ls -l`; with 0 every open sees the newest object.",
)
@click.option(
    "--negative-ttl",
    metavar="DURATION|minimal|indefinite",
    default=_seconds(DEFAULT_NEGATIVE_TTL_SECONDS),
    show_default=True,
    callback=read_by(parse_ttl),
    help="How long it is believed that a name does not exist: long enough for a search path"
    " probed again and again, short enough to wait for a new object.",
)
@click.option(
    "--memory",
    metavar="SIZE",
    default=show_size(DEFAULT_MEMORY_BYTES),
    show_default=True,
    callback=read_by(parse_size),
    help="One budget for all bytes cached or on their way. The default serves four readers at"
    " full read-ahead and lets the process live in a container of 512 MiB.",
)
@click.option(
    "--read-ahead",
    metavar="SIZE",
    callback=read_by(parse_size),
    help="The most that is read ahead of one sequential reader; 0 reads nothing ahead."
    f"  [default: {show_size(DEFAULT_READ_AHEAD_BYTES)}, about 1 GB/s for the 60 ms that a"
    " distant range takes to begin; a quarter of --memory where that is less]",
)
@click.option(
    "--read-timeout",
    metavar="DURATION",
    default=_seconds(DEFAULT_READ_TIMEOUT_SECONDS),
    show_default=True,
    callback=read_by(parse_duration),
    help="After this a read that the service leaves unanswered fails; the default is as long as"
    " the kernel waits before it reports a hung task.",
)
@click.option(
    "--kernel-read-ahead",
    metavar="SIZE",
    default="0",
    callback=read_by(parse_size),
    help="Raise the kernel's own read-ahead of this mount (root only), such as 1MiB: faster for"
    " large files read from end to end, slower for page faults through mmap."
    "  [default: the kernel's, 128KiB]",
)
@click.option(
    "--uid",
    metavar="USER",
    callback=read_by(parse_user),
    help="Owner of all files.  [default: who mounts]",
)
@click.option(
    "--gid",
    metavar="GROUP",
    callback=read_by(parse_group),
    help="Group of all files.  [default: that of who mounts]",
)
@click.option(
    "--file-mode",
    metavar="OCTAL",
    default="644",
    show_default=True,
    callback=read_by(parse_mode),
    help="Permissions of all files: what umask 022 gives, so that copies can be written to.",
)
@click.option(
    "--dir-mode",
    metavar="OCTAL",
    default="755",
    show_default=True,
    callback=read_by(parse_mode),
    help="Permissions of all directories, for the same reason.",
)
@click.option(
    "--posix",
    is_flag=True,
    help="Show owners and permissions that gcloud --preserve-posix and others have stored; off,"
    " because every writer of the bucket could then decide who may read.",
)
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let other users in, as the permissions say; off, because the kernel lets nobody read"
    " along with somebody's credentials unless told to.",
)
@click.option(
    "-o",
    "mount_options",
    metavar="OPT[,OPT]",
    multiple=True,
    help="Mount options as in fstab: those of mount(8), and all of the above by name,"
    " such as -o ro,_netdev,allow_other,memory=1GiB.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground, and log to stderr.")
@click.option(
    "--log-file",
    metavar="FILE",
    callback=read_by(_absolute),
    help="Append the log to this file.  [default: stderr in the foreground, else syslog]",
)
@click.option(
    "--log-level",
    metavar="|".join(LOG_LEVELS),
    default="info",
    show_default=True,
    type=click.Choice(LOG_LEVELS, case_sensitive=False),
    help="info tells of mounting, unmounting and trouble; debug of each stream and request.",
)
@click.version_option(__version__, prog_name=PROGRAM)
# What mount(8) may hand to a helper; only -s means something to us.
@click.option("-s", "sloppy", is_flag=True, hidden=True)
@click.option("-n", "no_mtab", is_flag=True, hidden=True)
@click.option("-v", "verbose", is_flag=True, hidden=True)
@click.option("-N", "namespace", hidden=True)
def mount_arguments(
    *,
    bucket: str,
    mountpoint: str,
    only_dir: str,
    endpoint: str | None,
    plaintext: bool,
    anonymous: bool,
    key_file: Path | None,
    billing_project: str,
    metadata_ttl: float,
    negative_ttl: float,
    memory: int,
    read_ahead: int | None,
    read_timeout: float,
    kernel_read_ahead: int,
    uid: int | None,
    gid: int | None,
    file_mode: int,
    dir_mode: int,
    posix: bool,
    allow_other: bool,
    mount_options: tuple[str, ...],
    foreground: bool,
    log_file: Path | None,
    log_level: str,
    **_of_mount: object,
) -> Settings:
    """Mount a Google Cloud Storage bucket, read-only, as a directory.

    BUCKET is name, gs://name or gs://name/prefix; MOUNTPOINT is an empty directory. The command
    returns once the mount answers. Unmount it by `umount MOUNTPOINT`, as a user by
    `fusermount3 -u MOUNTPOINT`.

    Sizes are written like 64MiB or 1GiB, durations like 30s, 5ms or 1m30s.
    STORAGE_EMULATOR_HOST_GRPC=host:port in the environment stands for --endpoint, --plaintext and
    --anonymous.
    """
    if not mountpoint:
        raise ConfigError("the mount point is empty: write the path of a directory.")
    # Links are not followed here: to look at a path may hang, and is done under a time limit.
    directory = Path(os.path.normpath(_absolute(mountpoint)))
    check_options(mount_options, directory, allow_other=allow_other, user=os.geteuid())
    name, prefix = parse_bucket(bucket, only_dir)
    connection = resolve_connection(
        endpoint,
        plaintext=plaintext,
        anonymous=anonymous,
        with_key=key_file is not None,
        emulator=os.environ.get(EMULATOR_VARIABLE, ""),
    )
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory > machine_bytes:
        raise ConfigError(
            f"--memory {show_size(memory)} is more than this machine has:"
            f" {machine_bytes // 2**20}MiB."
        )
    if kernel_read_ahead and os.geteuid() != 0:
        raise ConfigError("--kernel-read-ahead can only be set by root: leave it out.")
    return Settings(
        bucket=name,
        prefix=prefix,
        written_source=bucket,
        mountpoint=directory,
        endpoint=connection.endpoint,
        plaintext=connection.plaintext,
        anonymous=connection.anonymous,
        key_file=key_file,
        billing_project=billing_project,
        metadata_ttl_seconds=metadata_ttl,
        negative_ttl_seconds=negative_ttl,
        memory_bytes=memory,
        read_ahead_bytes=read_ahead_for(memory) if read_ahead is None else read_ahead,
        read_timeout_seconds=read_timeout,
        kernel_read_ahead_bytes=kernel_read_ahead,
        uid=os.getuid() if uid is None else uid,
        gid=os.getgid() if gid is None else gid,
        file_mode=file_mode,
        dir_mode=dir_mode,
        posix=posix,
        allow_other=allow_other,
        fuse_options=mount_options,
        log_file=log_file,
        log_level=log_level,
        foreground=foreground,
    )
