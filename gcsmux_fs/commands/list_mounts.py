"""The command `gcsmux list`: shows the mounts of this machine.

The command reads only the kernel's mount table, so it never waits for a mount that hangs.
"""

from __future__ import annotations

import json

import click

from gcsmux_fs.fuse.mountinfo import MountEntry, mount_table

__all__ = ["list_mounts"]


@click.command(
    name="list",
    epilog="Examples:  gcsmux list    gcsmux list --json | jq -r '.[].mountpoint'",
)
@click.option("--json", "as_json", is_flag=True, help="Print a JSON array, one object per mount.")
def list_mounts(*, as_json: bool) -> None:
    """Show all mounts of this machine: source, mount point, and the user who mounted."""
    mounts = [entry for entry in mount_table() if entry.is_gcsmux]
    if as_json:
        click.echo(json.dumps([_fields(entry) for entry in mounts], indent=2))
        return
    for entry in mounts:
        click.echo(f"{entry.source} on {entry.path} (user {entry.owner})")
    if not mounts:
        click.echo("No bucket is mounted by gcsmux-mount.", err=True)


def _fields(entry: MountEntry) -> dict[str, object]:
    return {"source": entry.source, "mountpoint": entry.path, "user_id": entry.owner}
