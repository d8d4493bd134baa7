"""Click options made from the table of settings, and the values that all sources give together.

A command that has options of the table, such as `service_options`, passes its parameters to
`effective_values`. Then a configuration file and environment variables work for this command as
they do for `gcsmux-mount`. An option that is not given has the value None.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, replace
from dataclasses import field as dataclass_field
from typing import TYPE_CHECKING, Any, TypeVar

import click

from gcsmux_fs.commands.click_command import parsed_by
from gcsmux_fs.commands.completions import complete_value
from gcsmux_fs.settings.config_file import ConfigFileMissing, FileValue, read_config
from gcsmux_fs.settings.credential_options import CREDENTIAL_SETTINGS, check_credential_options
from gcsmux_fs.settings.defaults import DEFAULT_PUBSUB_ENDPOINT
from gcsmux_fs.settings.paths import absolute_path
from gcsmux_fs.settings.pubsub_address import pubsub_endpoint
from gcsmux_fs.settings.service_address import EMULATOR_VARIABLE, resolve_service_address
from gcsmux_fs.settings.service_settings import SERVICE
from gcsmux_fs.settings.setting import DEFAULT, EffectiveSetting, Origin
from gcsmux_fs.settings.setting_sources import displaced, merge_sources
from gcsmux_fs.settings.setting_table import CONFIG, FILE_SETTINGS, settings_below

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from gcsmux_fs.settings.service_address import ServiceAddress
    from gcsmux_fs.settings.setting import Setting

__all__ = [
    "INSIDE_O",
    "ConfigFile",
    "config_option",
    "effective_values",
    "options_below",
    "service_address",
    "service_options",
    "with_service_address",
]

INSIDE_O = "gcsmux_fs.options_inside_o"
"""The key in `click.Context.meta` of the names of parameters that were set inside of -o."""

_Decorated = TypeVar("_Decorated", bound="Callable[..., object]")


@dataclass(frozen=True, slots=True)
class ConfigFile:
    """The configuration file of a command. `path` is None if no file was named.

    `exists` is false if the file is optional (`--config=-FILE`) and does not exist.
    """

    path: Path | None = None
    exists: bool = True
    values: Mapping[str, FileValue] = dataclass_field(default_factory=dict)


def config_option(command: _Decorated) -> _Decorated:
    """Add the option --config, whose value is a `ConfigFile`."""
    return click.option(
        CONFIG.option,
        metavar=CONFIG.type.metavar,
        envvar=CONFIG.variable,
        callback=parsed_by(_config_file),
        shell_complete=complete_value,
        help=CONFIG.help,
    )(command)


def _config_file(text: str) -> ConfigFile:
    path = absolute_path(text.removeprefix("-"))
    try:
        return ConfigFile(path, values=read_config(path, FILE_SETTINGS))
    except ConfigFileMissing:
        if text.startswith("-"):
            return ConfigFile(path, exists=False)
        raise


def options_below(heading: str) -> Callable[[_Decorated], _Decorated]:
    """Return a decorator that adds the options below a heading of the table of settings."""

    def decorate(command: _Decorated) -> _Decorated:
        # The option that is added last is the first in the help.
        for setting in reversed(settings_below(heading)):
            command = _option(setting)(command)
        return command

    return decorate


def _option(setting: Setting) -> Callable[[_Decorated], _Decorated]:
    if setting.name == "mount_options":
        return click.option(
            "-o",
            setting.field,
            metavar=setting.type.metavar,
            multiple=True,
            help="Mount options as in fstab: those of mount(8), and the long options of this"
            " command, such as -o ro,_netdev,allow_other,memory=1GiB.",
        )
    help_text = setting.help
    if setting.shown_default and not setting.type.is_flag:
        reason = f", because {setting.reason}" if setting.reason else ""
        help_text += f"  [default: {setting.shown_default}{reason}]"
    elif setting.reason:
        help_text += f" Off by default, because {setting.reason}."
    if not setting.type.is_flag:
        return click.option(
            setting.option,
            setting.field,
            metavar=setting.type.metavar,
            callback=parsed_by(setting.type.parse),
            shell_complete=complete_value,
            help=help_text,
        )
    # A flag of a file or an environment variable can be turned off on the command line.
    names = setting.option if setting.option_only else f"{setting.option}/--no-{setting.long_name}"
    short = (setting.short,) if setting.short else ()
    return click.option(*short, names, setting.field, is_flag=True, default=None, help=help_text)


service_options = options_below(SERVICE)
"""Adds the options for the address of the service and the credentials."""


def effective_values(
    config: ConfigFile | None, options: Mapping[str, Any]
) -> dict[str, EffectiveSetting]:
    """Return all settings by field, from the options, the environment and the configuration file.

    The first row is the configuration file itself. `options` has the values of click parameters;
    None means that the option is not given. Call this while a click command runs.

    Raises:
        ConfigError: an environment variable is wrong.
    """
    file = config or ConfigFile()
    merged = {CONFIG.field: _config_row(file), **merge_sources(options, os.environ, file.values)}
    for field in click.get_current_context().meta.get(INSIDE_O, ()):
        if merged[field].origin.kind == "option":
            origin = Origin("option", f"-o {merged[field].setting.name}")
            merged[field] = replace(merged[field], origin=origin)
    return merged


def _config_row(file: ConfigFile) -> EffectiveSetting:
    if file.path is None:
        return EffectiveSetting(CONFIG, None, DEFAULT)
    source = click.get_current_context().get_parameter_source(CONFIG.field)
    is_variable = source is click.core.ParameterSource.ENVIRONMENT
    origin = (
        Origin("environment", CONFIG.variable) if is_variable else Origin("option", CONFIG.option)
    )
    return EffectiveSetting(
        CONFIG, file.path, origin, "" if file.exists else "the file does not exist"
    )


def service_address(
    endpoint: str | None, *, plaintext: bool, anonymous: bool, given: Sequence[str] = ()
) -> ServiceAddress:
    """Return the address of the service that the options and the environment variable give.

    `given` has the options with which the user chose credentials.

    Raises:
        ConfigError: the options contradict each other, or the environment variable is wrong.
    """
    return resolve_service_address(
        endpoint,
        plaintext=plaintext,
        anonymous=anonymous,
        given=given,
        emulator=os.environ.get(EMULATOR_VARIABLE, ""),
    )


def with_service_address(
    merged: Mapping[str, EffectiveSetting], *, uses_pubsub: bool = False
) -> dict[str, EffectiveSetting]:
    """Return the settings with the endpoint, plaintext and anonymous that have an effect.

    The emulator's environment variable is stronger than an endpoint and than credentials of the
    configuration file. The endpoint of Pub/Sub is checked if --changes is given or with
    `uses_pubsub`.

    Raises:
        ConfigError: the settings contradict each other, or the environment variable is wrong.
    """
    endpoint = merged["endpoint"]
    emulator = os.environ.get(EMULATOR_VARIABLE) and endpoint.origin.kind in ("default", "file")
    if emulator:
        file_credentials = {
            name: displaced(merged[name], EMULATOR_VARIABLE)
            for name in CREDENTIAL_SETTINGS
            if merged[name].origin.kind == "file"
        }
        merged = {**merged, **file_credentials}
    address = service_address(
        None if emulator else endpoint.value,
        plaintext=merged["plaintext"].value,
        anonymous=merged["anonymous"].value,
        given=[merged[name].setting.option for name in CREDENTIAL_SETTINGS if merged[name].value],
    )
    check_credential_options(
        lambda name: merged[name].value, plaintext=address.plaintext, anonymous=address.anonymous
    )
    result = dict(merged)
    for name in ("endpoint", "plaintext", "anonymous"):
        value, each = getattr(address, name), merged[name]
        if value != each.value and emulator:
            reason = f"{EMULATOR_VARIABLE} names an emulator"
            origin = Origin("environment", EMULATOR_VARIABLE)
            result[name] = EffectiveSetting(each.setting, value, origin, reason)
        elif value != each.value:
            result[name] = EffectiveSetting(each.setting, value, each.origin, each.reason)
    if uses_pubsub or merged["changes"].value is not None:
        result["pubsub_endpoint"] = _with_pubsub(merged["pubsub_endpoint"], address)
    elif merged["pubsub_endpoint"].value is None:
        row = merged["pubsub_endpoint"]
        result["pubsub_endpoint"] = replace(row, value=DEFAULT_PUBSUB_ENDPOINT)
    return result


def _with_pubsub(row: EffectiveSetting, storage: ServiceAddress) -> EffectiveSetting:
    value, reason = pubsub_endpoint(row.value, storage, os.environ)
    return replace(row, value=value, reason=reason or row.reason)
