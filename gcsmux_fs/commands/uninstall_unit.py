"""The command `gcsmux uninstall-unit`: removes what `gcsmux install-unit` has written."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click
from click.shell_completion import CompletionItem

from gcsmux_fs.commands.click_command import examples, parsed_by
from gcsmux_fs.commands.completions import complete_directory
from gcsmux_fs.commands.installation_plan import Plan, PlannedStep, SystemRoot, confirm
from gcsmux_fs.commands.marked_files import read_if_exists
from gcsmux_fs.commands.unit_files import (
    UNIT_PATH,
    cache_directory,
    check_name,
    config_path,
    created_directory,
    drop_in_path,
    has_unit,
)
from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.process.shell_commands import command
from gcsmux_fs.settings.value_types import MOUNTPOINT

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["uninstall_unit"]


def _complete_name(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list[CompletionItem[str]]:
    names = sorted(path.stem for path in _configurations(SystemRoot(Path("/"))))
    return [CompletionItem(name) for name in names if name.startswith(incomplete)]


@click.command(
    name="uninstall-unit",
    epilog=examples("gcsmux uninstall-unit data", "gcsmux uninstall-unit data --dry-run"),
)
@click.argument("name", metavar="NAME", shell_complete=_complete_name)
@click.option("--dry-run", is_flag=True, help="Only show what the command would do.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--force", is_flag=True, help="Also remove files that were edited.")
@click.option(
    "--root",
    metavar="DIR",
    default="/",
    callback=parsed_by(MOUNTPOINT.parse),
    shell_complete=complete_directory,
    help="Change the files below this directory, which contains the image of a machine.",
)
def uninstall_unit(*, name: str, dry_run: bool, yes: bool, force: bool, root: Path) -> int:
    """Unmount a bucket, and remove what install-unit has written for it.

    Edited files are kept, unless --force is given. The unit gcsmux@.service is removed with the
    last configuration that uses it.
    """
    system = SystemRoot(root)
    check_name(name)
    config = system.file(config_path(name))
    text = read_if_exists(config)
    drop_in = system.file(drop_in_path(name))
    if text is None and not drop_in.exists():
        others = ", ".join(sorted(path.stem for path in _configurations(system)))
        raise ConfigError(
            f"{config} does not exist: write the name of an installed unit ({others or 'none'})."
        )
    plan = Plan()
    unit = f"gcsmux@{name}.service"
    now = ["--now"] if system.runs_systemd else []
    if has_unit(system):
        plan.run(system.systemctl("disable", *now, unit))
    for path in (drop_in, config):
        plan.remove(path, force=force)
    if drop_in.exists():
        _remove_if_empty(plan, drop_in.parent)
    if not any(path != config for path in _configurations(system)):
        plan.remove(system.file(UNIT_PATH), force=force)
        _remove_if_empty(plan, config.parent)
    created = created_directory(text)
    if created is not None:
        _remove_if_empty(plan, system.file(created))
    cache = cache_directory(text)
    if cache is not None:
        clear = command("gcsmux", "cache", "clear", cache)
        plan.remarks.append(f"the cache is kept, because mounts can share it. {clear} empties it.")
    if system.runs_systemd:
        plan.run(system.systemctl("daemon-reload"))
    if confirm(plan, system, dry_run=dry_run, yes=yes):
        plan.carry_out()
        click.echo(f"{unit} is uninstalled.")
    return 0


def _configurations(system: SystemRoot) -> Iterator[Path]:
    return system.file("/etc/gcsmux").glob("*.toml")


def _remove_if_empty(plan: Plan, path: Path) -> None:
    def remove() -> None:
        if path.is_dir() and not any(path.iterdir()):
            path.rmdir()

    plan.steps.append(PlannedStep(f"remove {path} if it is empty", (), remove))
