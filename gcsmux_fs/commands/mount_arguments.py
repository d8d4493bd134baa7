"""The arguments of `gcsmux-mount`: their names, their help, and their conversion to Settings.

The parameter name of an option is the field of Settings that the option sets.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import click

from gcsmux_fs import __version__
from gcsmux_fs.commands.click_command import HeadedCommand, long_options, parsed_by
from gcsmux_fs.commands.mount_options import check_options, sort_options
from gcsmux_fs.commands.shared_options import (
    LOG_OPTIONS,
    SERVICE_OPTIONS,
    absolute_path,
    log_options,
    service_address,
    service_options,
)
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import parse_bucket
from gcsmux_fs.settings.defaults import (
    DEFAULT_DIR_MODE,
    DEFAULT_FILE_MODE,
    DEFAULT_MEMORY_BYTES,
    DEFAULT_METADATA_TTL_SECONDS,
    DEFAULT_NEGATIVE_TTL_SECONDS,
    DEFAULT_READ_AHEAD_BYTES,
    DEFAULT_READ_TIMEOUT_SECONDS,
    default_read_ahead,
)
from gcsmux_fs.settings.permissions import parse_group, parse_mode, parse_user
from gcsmux_fs.settings.settings import Settings
from gcsmux_fs.settings.units import (
    parse_duration,
    parse_size,
    parse_size_or_auto,
    parse_ttl,
    show_duration,
    show_size,
)

__all__ = ["PROGRAM", "mount_arguments"]

PROGRAM = "gcsmux-mount"
"""The name of the command in messages and in the system log."""

# `--help` shows the options under these headings.
_HEADINGS = {
    "What to mount": ("only_dir",),
    "The service": SERVICE_OPTIONS,
    "What programs see": (
        "uid",
        "gid",
        "file_mode",
        "dir_mode",
        "posix",
        "allow_other",
        "metadata_ttl_seconds",
        "negative_ttl_seconds",
    ),
    "Reading": (
        "memory_bytes",
        "read_ahead_bytes",
        "read_timeout_seconds",
        "kernel_read_ahead_bytes",
    ),
    "Running": ("foreground", "fuse_options", *LOG_OPTIONS),
}

# The options that `-o` does not accept, because a line of fstab with one of them would not mount in
# the background.
_NOT_FOR_FSTAB = frozenset({"foreground", "help", "version"})

# The directory of SELinux in sysfs. This directory exists only if SELinux is turned on in the
# kernel.
_SELINUX = Path("/sys/fs/selinux")


class _MountCommand(HeadedCommand):
    """A command that also accepts its own long options inside of `-o`, among the mount options."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Parse the options inside of `-o` first, so that options outside of `-o` override them."""
        self.refuse_single_dash(args)
        values, _, _ = self.make_parser(ctx).parse_args(list(args))
        takes_value = {
            name: not option.is_flag
            for name, option in long_options(self).items()
            if option.name not in _NOT_FOR_FSTAB
        }
        options = sort_options(
            values.get("fuse_options", ()),
            takes_value,
            tolerant="sloppy" in values,
            selinux=_SELINUX.exists(),
        )
        own = [f"--{name}" if text is None else f"--{name}={text}" for name, text in options.own]
        rest = super().parse_args(ctx, own + args)
        ctx.params["fuse_options"] = options.fuse
        return rest


@click.command(
    cls=_MountCommand,
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
    help="Mount only this folder of the bucket. gs://name/prefix does the same.",
)
@service_options
@click.option(
    "--metadata-ttl",
    "metadata_ttl_seconds",
    metavar="DURATION|minimal|indefinite",
    default=show_duration(DEFAULT_METADATA_TTL_SECONDS),
    show_default=True,
    callback=parsed_by(parse_ttl),
    help="How long names, sizes and times stay cached. A change made elsewhere becomes visible"
    " after this time. minimal is 1s, which is enough for one `ls -l`; 0 makes every open ask the"
    " service for the newest object.",
)
@click.option(
    "--negative-ttl",
    "negative_ttl_seconds",
    metavar="DURATION|minimal|indefinite",
    default=show_duration(DEFAULT_NEGATIVE_TTL_SECONDS),
    show_default=True,
    callback=parsed_by(parse_ttl),
    help="How long the absence of a name stays cached. The default is long enough for a program"
    " that probes a search path repeatedly, and short enough for one that waits for a new object.",
)
@click.option(
    "--memory",
    "memory_bytes",
    metavar="SIZE",
    default=show_size(DEFAULT_MEMORY_BYTES),
    show_default=True,
    callback=parsed_by(parse_size),
    help="The limit for all cached bytes and bytes in flight together. The default gives four"
    " readers full readahead, and the process fits into a container of 512 MiB.",
)
@click.option(
    "--read-ahead",
    "read_ahead_bytes",
    metavar="SIZE",
    callback=parsed_by(parse_size),
    help="How far to read ahead of one sequential reader; 0 turns readahead off."
    f"  [default: {show_size(DEFAULT_READ_AHEAD_BYTES)}, which sustains 1 GB/s at a latency of"
    " 60 ms, or a quarter of --memory if that is less]",
)
@click.option(
    "--read-timeout",
    "read_timeout_seconds",
    metavar="DURATION",
    default=show_duration(DEFAULT_READ_TIMEOUT_SECONDS),
    show_default=True,
    callback=parsed_by(parse_duration),
    help="How long a read or a lookup waits for the service, including retries, before it fails."
    " The default is the time after which the kernel reports a hung task.",
)
@click.option(
    "--kernel-read-ahead",
    "kernel_read_ahead_bytes",
    metavar="SIZE|auto",
    default="auto",
    show_default=True,
    callback=parsed_by(parse_size_or_auto),
    help="The kernel's own readahead window. With auto, a mount by root chooses 128KiB, 1MiB or"
    " 16MiB for each open file, by how the file, its directory and its suffix were read before. A"
    " size, such as 1MiB, is the window of all files (root only): with a larger window, sequential"
    " reads are faster, and each page fault of mmap fetches more. 0, or auto by another user, keeps"
    " the kernel's default, 128KiB.",
)
@click.option(
    "--uid",
    metavar="USER",
    default=lambda: str(os.getuid()),
    callback=parsed_by(parse_user),
    help="Owner of all files.  [default: the user who mounts]",
)
@click.option(
    "--gid",
    metavar="GROUP",
    default=lambda: str(os.getgid()),
    callback=parsed_by(parse_group),
    help="Group of all files.  [default: the group of the user who mounts]",
)
@click.option(
    "--file-mode",
    metavar="OCTAL",
    default=f"{DEFAULT_FILE_MODE:o}",
    show_default=True,
    callback=parsed_by(parse_mode),
    help="Permissions of all files. The default lets the owner write to copies that keep the"
    " permissions.",
)
@click.option(
    "--dir-mode",
    metavar="OCTAL",
    default=f"{DEFAULT_DIR_MODE:o}",
    show_default=True,
    callback=parsed_by(parse_mode),
    help="Permissions of all directories. The default lets the owner write to copies that keep the"
    " permissions.",
)
@click.option(
    "--posix",
    is_flag=True,
    help="Show the owners and permissions that gcloud --preserve-posix and other tools stored with"
    " the objects. Off by default, because it lets every writer of the bucket decide who may read.",
)
@click.option(
    "--allow-other",
    is_flag=True,
    help="Let other users access the mount, subject to the permissions. Off by default, because"
    " other users then read with the credentials of the user who mounts.",
)
@click.option(
    "-o",
    "fuse_options",
    metavar="OPT[,OPT]",
    multiple=True,
    help="Mount options as in fstab: those of mount(8), and the long options of this command,"
    " such as -o ro,_netdev,allow_other,memory=1GiB.",
)
@click.option("-f", "--foreground", is_flag=True, help="Stay in the foreground and log to stderr.")
@log_options
@click.version_option(__version__, prog_name=PROGRAM)
# The four options that mount(8) passes to its helper programs, of which this command is one. Only
# -s has an effect here.
@click.option("-s", "sloppy", is_flag=True, hidden=True, expose_value=False)
@click.option("-n", "no_mtab", is_flag=True, hidden=True, expose_value=False)
@click.option("-v", "verbose", is_flag=True, hidden=True, expose_value=False)
@click.option("-N", "namespace", hidden=True, expose_value=False)
def mount_arguments(
    *,
    bucket: str,
    mountpoint: str,
    only_dir: str,
    endpoint: str | None,
    plaintext: bool,
    anonymous: bool,
    key_file: Path | None,
    memory_bytes: int,
    read_ahead_bytes: int | None,
    kernel_read_ahead_bytes: int | None,
    allow_other: bool,
    fuse_options: tuple[str, ...],
    **other_fields: Any,
) -> Settings:
    """Mount a Google Cloud Storage bucket, read-only, as a directory.

    BUCKET is name, gs://name or gs://name/prefix. MOUNTPOINT is an empty directory. The command
    returns when the mount is ready. To unmount, run `umount MOUNTPOINT` as root, or
    `fusermount3 -u MOUNTPOINT` as another user.

    Write sizes like 64MiB or 1GiB, and durations like 30s, 5ms or 1m30s. The environment variable
    STORAGE_EMULATOR_HOST_GRPC=host:port replaces --endpoint, --plaintext and --anonymous.
    """
    directory = _mountpoint(mountpoint)
    check_options(fuse_options, directory, allow_other=allow_other, user=os.geteuid())
    name, prefix = parse_bucket(bucket, only_dir)
    service = service_address(endpoint, plaintext=plaintext, anonymous=anonymous, key_file=key_file)
    _check_machine(memory_bytes, kernel_read_ahead_bytes)
    if read_ahead_bytes is None:
        read_ahead_bytes = default_read_ahead(memory_bytes)
    return Settings(
        bucket=name,
        prefix=prefix,
        written_source=bucket,
        mountpoint=directory,
        endpoint=service.endpoint,
        plaintext=service.plaintext,
        anonymous=service.anonymous,
        key_file=key_file,
        memory_bytes=memory_bytes,
        read_ahead_bytes=read_ahead_bytes,
        kernel_read_ahead_bytes=kernel_read_ahead_bytes,
        allow_other=allow_other,
        fuse_options=fuse_options,
        **other_fields,
    )


def _mountpoint(text: str) -> Path:
    """Return the absolute path of the mount point; no system call on the path, as it may hang."""
    if not text:
        raise ConfigError("MOUNTPOINT is an empty text: write the path of a directory.")
    return Path(os.path.normpath(absolute_path(text)))


def _check_machine(memory_bytes: int, kernel_read_ahead_bytes: int | None) -> None:
    """Raise ConfigError if --memory is more than the machine has, or if an option requires root."""
    machine_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    if memory_bytes > machine_bytes:
        raise ConfigError(
            f"--memory {show_size(memory_bytes)} is larger than the memory of this machine: write"
            f" at most {machine_bytes // 2**20}MiB."
        )
    if kernel_read_ahead_bytes and os.geteuid() != 0:
        raise ConfigError("only root can set --kernel-read-ahead: leave it out.")
