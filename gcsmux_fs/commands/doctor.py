"""The command `gcsmux doctor`: examines the way from this machine to the bytes of a bucket.

The module does not import gRPC, so `gcsmux doctor --help` is answered fast. The checks are in the
room `doctor`.
"""

from __future__ import annotations

import json
import logging
import os
import textwrap
from typing import TYPE_CHECKING, Any

import click

from gcsmux_fs.commands.click_command import examples, parsed_by
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.shared_options import (
    ConfigFile,
    config_option,
    effective_values,
    options_below,
    service_options,
    with_service_address,
)
from gcsmux_fs.doctor.checklist import CheckResult
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.logs import printable, redacted
from gcsmux_fs.settings.bucket_address import bucket_address, parse_bucket
from gcsmux_fs.settings.cache_options import cache_options
from gcsmux_fs.settings.cache_settings import CACHE
from gcsmux_fs.settings.change_settings import CHANGES
from gcsmux_fs.settings.json_address import json_address
from gcsmux_fs.settings.pubsub_address import pubsub_address
from gcsmux_fs.settings.service_address import ServiceAddress
from gcsmux_fs.settings.units import parse_duration
from gcsmux_fs.settings.value_types import MOUNTPOINT

if TYPE_CHECKING:
    from rich.console import Console
    from rich.status import Status

    from gcsmux_fs.doctor.checklist import Check, Finding

__all__ = ["DoctorReport", "doctor"]

_STYLES = {
    CheckResult.OK: ("ok", "green"),
    CheckResult.WARNING: ("warning", "yellow"),
    CheckResult.FAILURE: ("failure", "bold red"),
    CheckResult.SKIPPED: ("skipped", "dim"),
}
_MIN_CHECK_SECONDS = 0.5
_WORD_COLUMNS, _TITLE_COLUMNS = 8, 14
_TEXT_COLUMN = _WORD_COLUMNS + _TITLE_COLUMNS
# In a narrower terminal, lines are not folded.
_MIN_TEXT_COLUMNS = 30


def _check_seconds(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < _MIN_CHECK_SECONDS:
        raise ConfigError(f"{text} is too short: write at least {_MIN_CHECK_SECONDS:g}s.")
    return seconds


class DoctorReport:
    """Prints each finding: two lines of text, or at the end one JSON array.

    Every text is free of secrets and of control characters, because it may quote a server.
    """

    def __init__(self, console: Console, *, as_json: bool) -> None:
        self._console = console
        self._as_json = as_json
        self._rows: list[dict[str, object]] = []
        self._status: Status | None = None
        self._counts = dict.fromkeys(CheckResult, 0)

    def started(self, check: Check) -> None:
        """Show on a terminal which check runs."""
        if self._console.is_terminal and not self._as_json:
            self._status = self._console.status(f"checking: {check.title}")
            self._status.start()

    def hide_status(self) -> None:
        """Remove the line that shows which check runs, and show the cursor again."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def finished(self, check: Check, finding: Finding, seconds: float) -> None:
        """Print the finding of a check."""
        self.hide_status()
        self._counts[finding.result] += 1
        detail, remedy = (printable(redacted(text)) for text in (finding.detail, finding.remedy))
        if self._as_json:
            self._rows.append(
                {
                    "check": check.name,
                    "result": str(finding.result),
                    "detail": detail,
                    "remedy": remedy,
                    "seconds": round(seconds, 3),
                }
            )
            return
        word, style = _STYLES[finding.result]
        self._print(f"{word:<{_WORD_COLUMNS}}", style)
        line = f"{check.title:<{_TITLE_COLUMNS}}{self._folded(detail)}\n"
        self._print(line, "dim" if style == "dim" else "")
        if remedy:
            self._print(f"{' ' * _TEXT_COLUMN}{self._folded(f'-> {remedy}', 3)}\n", "")

    def close(self) -> None:
        """Print the end of the report."""
        if self._as_json:
            click.echo(json.dumps(self._rows, indent=2))
            return
        failures, warnings = self._counts[CheckResult.FAILURE], self._counts[CheckResult.WARNING]
        if not failures and not warnings:
            self._print("\nAll checks passed.\n", "")
            return
        parts = [_counted(failures, "failure")] if failures else []
        parts += [_counted(warnings, "warning")] if warnings else []
        end = "the first failure is the cause of the others" if failures > 1 else ""
        self._print(f"\n{' and '.join(parts)}{': ' if end else ''}{end}.\n", "")

    def _folded(self, text: str, indent: int = 0) -> str:
        """Return `text` in lines that fit into the terminal; unchanged if there is no terminal."""
        columns = self._console.width - _TEXT_COLUMN - indent
        if not self._console.is_terminal or columns < _MIN_TEXT_COLUMNS:
            return text
        lines = textwrap.wrap(text, columns, break_long_words=False, break_on_hyphens=False)
        return ("\n" + " " * (_TEXT_COLUMN + indent)).join(lines)

    def _print(self, text: str, style: str) -> None:
        self._console.print(
            text, style=style, end="", markup=False, highlight=False, soft_wrap=True
        )


def _counted(number: int, noun: str) -> str:
    return f"{number} {noun}{'' if number == 1 else 's'}"


def _json_address(storage: ServiceAddress) -> str:
    """Return the address of the JSON API; "" for an emulator whose address is not known."""
    try:
        return json_address(storage, os.environ)
    except ConfigError:
        return ""


@click.command(
    name="doctor",
    epilog=examples(
        "gcsmux doctor my-bucket",
        "gcsmux doctor gs://my-bucket/logs /mnt/data",
        "gcsmux doctor --json my-bucket | jq -r .[].detail",
    ),
)
@click.argument("bucket", metavar="[BUCKET]", required=False)
@click.argument(
    "mountpoint", metavar="[MOUNTPOINT]", required=False, shell_complete=complete_directory
)
@click.option(
    "--only-dir",
    metavar="PREFIX",
    help="Examine only this folder of the bucket, as gcsmux-mount mounts it.",
)
@service_options
@options_below(CHANGES)
@options_below(CACHE)
@config_option
@click.option(
    "--object",
    "object_name",
    metavar="NAME",
    default="",
    help="Read this object.  [default: the largest object of the first listing page]",
)
@click.option(
    "--timeout",
    "check_seconds",
    metavar="DURATION",
    default="10s",
    show_default=True,
    callback=parsed_by(_check_seconds),
    help="Time limit of each check.",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per check.")
def doctor(
    *,
    config: ConfigFile | None,
    mountpoint: str | None,
    object_name: str,
    check_seconds: float,
    as_json: bool,
    **options: Any,
) -> int:
    """Examine the way from this machine to the bytes of a bucket.

    Each line shows one check; below a warning or a failure, a line shows the remedy. The checks are
    in the order of the way: FUSE, the cache on disk, the network, the credentials, the bucket, its
    bytes, and with --changes the notifications. The command reads at most 64 MiB of one object,
    which costs less than a US cent.

    BUCKET and the options are those of gcsmux-mount. With --config, the command examines what a
    mount with this file would use. Exit code: 0 if no check failed, 1 if a check failed. A warning
    is not a failure.
    """
    options["mountpoint"] = MOUNTPOINT.parse(mountpoint) if mountpoint else None
    merged = with_service_address(effective_values(config, options))
    values = {field: each.value for field, each in merged.items()}
    if not values["bucket"]:
        raise ConfigError("BUCKET is missing: write gcsmux doctor [OPTIONS] BUCKET [MOUNTPOINT].")
    name, prefix = parse_bucket(values["bucket"], values["only_dir"])
    # gRPC reads these variables when it is loaded. Without them gRPC logs to stderr.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    # Imported here, because loading gRPC takes a third of a second.
    from rich.console import Console

    from gcsmux_fs.doctor.examination import examine
    from gcsmux_fs.doctor.subject import Subject
    from gcsmux_fs.storage.channels import ChannelSettings

    storage = ServiceAddress(values["endpoint"], values["plaintext"], values["anonymous"])
    report = DoctorReport(Console(), as_json=as_json)
    if not as_json:
        click.echo(f"Examining {bucket_address(name, prefix)} at {values['endpoint']}\n")
    subject = Subject(
        ChannelSettings.of(values.__getitem__),
        name,
        prefix,
        values["mountpoint"],
        object_name,
        check_seconds,
        allow_other=values["allow_other"],
        memory_bytes=values["memory_bytes"],
        cache=cache_options(values.__getitem__),
        changes=values["changes"],
        pubsub=pubsub_address(values["pubsub_endpoint"], anonymous=storage.anonymous),
        json_address=_json_address(storage),
    )
    # The findings say what the log would say. `lastResort` prints warnings if no log is configured.
    last_resort, logging.lastResort = logging.lastResort, None
    try:
        passed = examine(subject, report.started, report.finished)
    finally:
        logging.lastResort = last_resort
        report.hide_status()
    report.close()
    return 0 if passed else 1
