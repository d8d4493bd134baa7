"""Joins the sources of settings. In rising strength: defaults, file, environment, options."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.setting import DEFAULT, KINDS, VARIABLE_PREFIX, EffectiveSetting, Origin
from gcsmux_fs.settings.setting_table import CONFIG, FILE_SETTINGS, SETTINGS
from gcsmux_fs.settings.similar_names import closest_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.settings.config_file import FileValue

__all__ = ["attributed", "displaced", "merge_sources"]

# A variable that is this similar to a known one is a spelling mistake. Other variables with the
# prefix are ignored: Kubernetes sets GCSMUX_PORT and similar variables for a service named gcsmux.
_MISTAKE_SIMILARITY = 0.8

# An option in a message, such as `--read-ahead`.
_OPTION = re.compile(r"--[a-z][a-z-]*")


def merge_sources(
    options: Mapping[str, Any], environment: Mapping[str, str], file: Mapping[str, FileValue]
) -> dict[str, EffectiveSetting]:
    """Return the value of each setting, by field, with its origin.

    `options` has the parsed values of options by field; None means that the option is not given.
    An empty environment variable counts as not set, because units and containers often declare
    variables without a value.

    Raises:
        ConfigError: an environment variable has a wrong value, or is probably misspelt.
    """
    variables = _variables(environment)
    merged: dict[str, EffectiveSetting] = {}
    for setting in SETTINGS:
        given = options.get(setting.field)
        if given is not None:
            value, origin = given, Origin("option", setting.option)
        elif setting.name in variables:
            value, origin = variables[setting.name], Origin("environment", setting.variable)
        elif setting.name in file:
            value, origin = file[setting.name].value, Origin("file", file[setting.name].place)
        elif setting.derive is not None:
            known = {field: each.value for field, each in merged.items()}
            value, origin = setting.derive(known), DEFAULT
        else:
            value, origin = setting.default, DEFAULT
        merged[setting.field] = EffectiveSetting(setting, value, origin)
    return _without_displaced(merged)


def _without_displaced(merged: Mapping[str, EffectiveSetting]) -> dict[str, EffectiveSetting]:
    """Give a setting its default if a stronger source has set one that excludes it."""
    result = dict(merged)
    for strong in merged.values():
        if not strong.value:
            continue
        for field in strong.setting.displaces:
            weak = merged[field]
            if weak.origin != DEFAULT and _strength(weak) < _strength(strong):
                result[field] = displaced(weak, strong.origin.place)
    return result


def _strength(each: EffectiveSetting) -> int:
    return KINDS.index(each.origin.kind)


def displaced(weak: EffectiveSetting, by: str) -> EffectiveSetting:
    """Return a setting with its default, because the source `by` is stronger."""
    reason = f"{by} overrides {weak.setting.name} of {weak.origin.place}"
    return EffectiveSetting(weak.setting, weak.setting.default, DEFAULT, reason)


def _variables(environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the parsed values of the environment variables, by the names of their settings."""
    values: dict[str, Any] = {}
    for variable, text in environment.items():
        if not variable.startswith(VARIABLE_PREFIX) or not text or variable == CONFIG.variable:
            continue
        name = variable.removeprefix(VARIABLE_PREFIX).lower()
        setting = FILE_SETTINGS.get(name)
        if setting is None:
            guess = closest_name(name, FILE_SETTINGS, similarity=_MISTAKE_SIMILARITY)
            if guess is not None:
                raise ConfigError(
                    f"unknown environment variable {variable}: did you mean"
                    f" {FILE_SETTINGS[guess].variable}?"
                )
            continue
        try:
            values[name] = setting.type.parse(text)
        except ConfigError as error:
            raise ConfigError(f"{variable}: {error}") from None
    return values


def attributed(message: str, merged: Mapping[str, EffectiveSetting]) -> str:
    """Return a message about options, with each option named as the user set it.

    `--memory` becomes `GCSMUX_MEMORY`, or the key `memory`, if the value comes from there. The
    message begins with file and line of the first key.
    """
    names = {}
    places = {}
    for each in merged.values():
        if each.origin.kind == "environment":
            names[each.setting.option] = each.origin.place
        elif each.origin.kind == "file":
            names[each.setting.option] = each.setting.name
            places[each.setting.option] = each.origin.place
    found = next((places[text] for text in _OPTION.findall(message) if text in places), None)
    renamed = _OPTION.sub(lambda match: names.get(match[0], match[0]), message)
    return f"{found}: {renamed}" if found else renamed
