"""The command `gcsmux install-unit`: lets systemd mount a bucket at boot.

The command writes the configuration, the unit with the paths of this installation, and with --user
a drop-in. It shows everything first.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import click

from gcsmux_fs.commands.click_command import examples, parsed_by
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.installation_plan import Plan, SystemRoot, confirm
from gcsmux_fs.commands.marked_files import marked, read_if_exists
from gcsmux_fs.commands.mount_arguments import MountCommand
from gcsmux_fs.commands.planned_directories import prepare_cache, prepare_mountpoint
from gcsmux_fs.commands.settings_builder import build_settings
from gcsmux_fs.commands.shared_options import options_below
from gcsmux_fs.commands.unit_files import (
    UNIT_PATH,
    check_name,
    config_path,
    created_directory,
    created_note,
    drop_in_path,
    drop_in_text,
    mount_command,
    packaged_unit,
    unit_differences,
    unit_text,
    variables_path,
)
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.config_text import config_text
from gcsmux_fs.settings.setting_sources import merge_sources
from gcsmux_fs.settings.setting_table import HEADINGS, settings_below
from gcsmux_fs.settings.value_types import MOUNTPOINT

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["install_unit"]

_INSTALLATION = {
    "The unit": ("name", "user", "make_directory", "enable", "now"),
    "This command": ("dry_run", "yes", "force", "root"),
}
_HEADINGS = _INSTALLATION | {
    heading: tuple(
        setting.field for setting in settings_below(heading) if setting.name != "foreground"
    )
    for heading in HEADINGS
}


def _mount_options(command: Any) -> Any:
    for heading in HEADINGS:
        command = options_below(heading)(command)
    command.__click_params__ = [
        param for param in command.__click_params__ if param.name != "foreground"
    ]
    return command


@click.command(
    name="install-unit",
    cls=MountCommand,
    headings=_HEADINGS,
    epilog=examples(
        "gcsmux install-unit my-bucket /mnt/data --allow-other --now",
        "gcsmux install-unit gs://my-bucket/logs /mnt/logs --name logs --memory 1GiB --dry-run",
    ),
)
@click.argument("bucket", metavar="BUCKET")
@click.argument("mountpoint", metavar="MOUNTPOINT", shell_complete=complete_directory)
@click.option(
    "--name",
    metavar="NAME",
    help="The unit is gcsmux@NAME, its configuration is /etc/gcsmux/NAME.toml."
    "  [default: the last part of MOUNTPOINT]",
)
@click.option(
    "--user",
    metavar="USER",
    help="The user who runs the mount and owns the mount point.  [default: root, who alone can"
    " choose the kernel's readahead windows]",
)
@click.option(
    "--mkdir", "make_directory", is_flag=True, help="Create the mount point if it does not exist."
)
@click.option("--enable", is_flag=True, help="Mount at every boot: systemctl enable.")
@click.option("--now", is_flag=True, help="The same, and mount now: systemctl enable --now.")
@click.option("--dry-run", is_flag=True, help="Only show what the command would do.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also replace files that were edited.")
@click.option(
    "--root",
    metavar="DIR",
    default="/",
    callback=parsed_by(MOUNTPOINT.parse),
    shell_complete=complete_directory,
    help="Write below this directory, which contains the image of a machine.",
)
@_mount_options
def install_unit(
    *,
    bucket: str,
    mountpoint: str,
    name: str | None,
    user: str | None,
    make_directory: bool,
    enable: bool,
    now: bool,
    dry_run: bool,
    yes: bool,
    force: bool,
    root: Path,
    fuse_options: tuple[str, ...],
    **options: Any,
) -> int:
    """Let systemd mount a bucket at boot.

    The command writes /etc/gcsmux/NAME.toml and the unit gcsmux@.service, and shows them first.
    The options of gcsmux-mount are written to the configuration. `gcsmux uninstall-unit NAME`
    removes what the command has written.
    """
    system = SystemRoot(root)
    directory = MOUNTPOINT.parse(mountpoint)
    name = check_name(name if name is not None else directory.name)
    values = {**options, "bucket": bucket, "mountpoint": directory}
    build_settings(merge_sources(values, {}, {}), fuse_options)
    if now and not system.runs_systemd:
        raise ConfigError("--now needs a running systemd: write --enable instead.")
    plan = Plan()
    config = system.file(config_path(name))
    present = read_if_exists(config)
    note = created_note(directory)
    # An earlier run may have created the directory.
    created = prepare_mountpoint(plan, system, directory, user, make_directory=make_directory)
    prepare_cache(plan, system, options.get("cache_dir"), user, options.get("cache_group"))
    if not created and created_directory(present) != str(directory):
        note = ""
    text = note + config_text({**values, "fuse_options": fuse_options})
    plan.write(config, marked(text), force=force, shown=text.splitlines())
    _plan_unit(plan, system, force=force)
    drop_in = drop_in_text(user, shares_cache=options.get("cache_group") is not None)
    if drop_in:
        shown = drop_in.splitlines()
        plan.write(system.file(drop_in_path(name)), marked(drop_in), force=force, shown=shown)
    unit = f"gcsmux@{name}.service"
    _plan_commands(plan, system, unit, enable=enable or now, now=now)
    _add_remarks(plan, options)
    variables = system.file(variables_path(name))
    if variables.exists():
        plan.remarks.append(f"the variables in {variables} override the configuration.")
    if present is not None and system.runs_systemd:
        plan.remarks.append(f"if {unit} is running, `systemctl restart {unit}` applies the change.")
    if confirm(plan, system, dry_run=dry_run, yes=yes):
        plan.carry_out()
        done = "mounted" if now else "enabled" if enable else "installed"
        more = "" if enable or now else f" `systemctl enable --now {unit}` mounts the bucket."
        click.echo(f"{unit} is {done}.{more}")
    return 0


def _plan_unit(plan: Plan, system: SystemRoot, *, force: bool) -> None:
    """Plan to write the unit, unless the package of a distribution contains it."""
    command = mount_command()
    packaged = packaged_unit(system, command)
    path = system.file(UNIT_PATH)
    if packaged is not None and not path.exists():
        plan.remarks.append(f"the unit of the package is used: {packaged}.")
        return
    text = unit_text(command)
    shown = unit_differences(text)
    plan.write(path, marked(text), force=force, shown=shown or ["(the unit of this package)"])


def _plan_commands(plan: Plan, system: SystemRoot, unit: str, *, enable: bool, now: bool) -> None:
    """Plan the commands of systemctl(1) after the files have been written."""
    if plan.steps and system.runs_systemd:
        plan.run(system.systemctl("daemon-reload"))
    if enable:
        hint = f": `journalctl -u {unit} -n 20` shows the reason" if now else ""
        plan.run(system.systemctl("enable", *(["--now"] if now else []), unit), hint=hint)


def _add_remarks(plan: Plan, options: dict[str, Any]) -> None:
    if not options.get("allow_other"):
        plan.remarks.append(
            "only the user of the mount can read it. --allow-other lets all users read it."
        )
    variable = "GOOGLE_APPLICATION_CREDENTIALS"
    if os.environ.get(variable) and not options.get("key_file") and not options.get("anonymous"):
        plan.remarks.append(
            f"the unit does not get {variable} of this shell. --key-file names the same file."
        )
