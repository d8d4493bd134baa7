"""The command `gcsmux list`: shows the mounts of this machine.

The command reads the kernel's mount table and asks the control sockets, so it never waits for a
mount that hangs.
"""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import click

from gcsmux_fs.commands.click_command import examples
from gcsmux_fs.control.client import NoAnswer, control_client
from gcsmux_fs.control.mounts import own_mounts
from gcsmux_fs.control.status_lines import shown_duration
from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table
from gcsmux_fs.model.errors import GcsmuxError
from gcsmux_fs.process.logs import printable, sentence

if TYPE_CHECKING:
    from gcsmux_fs.control.protocol import Json

__all__ = ["list_mounts"]

# Maximum time in seconds for which the command waits for a mount. A healthy mount answers within
# milliseconds.
_ANSWER_SECONDS = 2.0

_MAX_THREADS = 16

_HEALTHY = "healthy"


@click.command(
    name="list",
    epilog=examples("gcsmux list", "gcsmux list --json | jq -r '.[].mountpoint'"),
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per mount.")
def list_mounts(*, as_json: bool) -> None:
    """Show all mounts of this machine: source, mount point, user, process, and health.

    The health is `healthy`, `blocked` (an event loop does not run), `not answering`, or `unknown`
    (the mount belongs to another user, or has no control socket here).
    """
    mounts = own_mounts(mount_table())
    with ThreadPoolExecutor(_MAX_THREADS) as threads:
        described = list(threads.map(_describe, mounts))
    if as_json:
        click.echo(json.dumps(described, indent=2))
        return
    for each in described:
        click.echo(_line(each))
    if not mounts:
        click.echo("No bucket is mounted by gcsmux-mount.", err=True)


def _describe(entry: MountEntry) -> Json:
    fields: Json = {
        "source": entry.source,
        "mountpoint": entry.path,
        "user_id": entry.owner,
        "pid": None,
        "version": None,
        "uptime_seconds": None,
        "health": "unknown",
        "reason": "",
    }
    try:
        with control_client(entry, _ANSWER_SECONDS) as client:
            fields["pid"] = client.process
            status = client.ask("status")
    except NoAnswer as error:
        return fields | {"health": "not answering", "reason": str(error)}
    except GcsmuxError as error:
        return fields | {"reason": str(error)}
    try:
        version, uptime = str(status["version"]), float(status["uptime_seconds"])
        health = _HEALTHY if status["healthy"] else "blocked"
    except (KeyError, TypeError, ValueError):
        return fields | {"reason": "the mount answered in an unknown form"}
    return fields | {"version": version, "uptime_seconds": uptime, "health": health}


def _line(fields: Json) -> str:
    line = f"{fields['source']} on {printable(fields['mountpoint'])} (user {fields['user_id']}"
    if fields["pid"] is not None:
        line += f", process {fields['pid']}"
    if fields["version"] is not None:
        uptime = shown_duration(fields["uptime_seconds"])
        line += f", version {printable(fields['version'])}, up {uptime}"
    line += f"): {fields['health']}"
    return f"{line}, {sentence(fields['reason'])}" if fields["reason"] else line
