"""One row of the table of settings, and one value of a setting with its origin."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from gcsmux_fs.settings.value_types import ValueType

__all__ = ["DEFAULT", "KINDS", "VARIABLE_PREFIX", "EffectiveSetting", "Origin", "Setting"]

VARIABLE_PREFIX = "GCSMUX_"
"""The start of the environment variables that set a setting."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """A setting of a mount. Its names and its help are derived from this row.

    Attributes:
        name: the key in a TOML file, such as `read_ahead`.
        field: the field of `Settings` that holds the value.
        heading: the heading of the option in the help and in the reference.
        help: what the setting does, in whole sentences.
        default: the value if no source gives one.
        default_words: the default in words, if the value alone does not explain it.
        derive: computes the default from the values of the settings above; overrides `default`.
        reason: why the default is what it is, as a part of a sentence after "because".
        displaces: the fields of settings that exclude this one. If this setting is given, values of
            weaker sources for those fields have no effect; in the same source they are an error.
        short: a further name of the option, such as `-f`.
        option_only: whether neither a file nor an environment variable sets the setting.
        is_argument: whether the setting is a word of the command line instead of an option.
        secret: whether the value must not be shown.
    """

    name: str
    field: str
    type: ValueType
    heading: str
    help: str
    default: Any = None
    default_words: str = ""
    derive: Callable[[Mapping[str, Any]], Any] | None = None
    reason: str = ""
    displaces: tuple[str, ...] = ()
    short: str = ""
    option_only: bool = False
    is_argument: bool = False
    secret: bool = False

    @property
    def long_name(self) -> str:
        """The name of the option without dashes in front, such as `read-ahead`."""
        return self.name.replace("_", "-")

    @property
    def option(self) -> str:
        """The option or the argument of `gcsmux-mount`, such as `--read-ahead`."""
        return self.name.upper() if self.is_argument else f"--{self.long_name}"

    @property
    def variable(self) -> str:
        """The environment variable, such as `GCSMUX_READ_AHEAD`."""
        return VARIABLE_PREFIX + self.name.upper()

    @property
    def file_value(self) -> str:
        """A value as it is written in a TOML file: the default, or an example if it has none."""
        if self.type.is_flag:
            return self.type.show(self.default)
        if self.default in (None, "", ()):
            return self.type.example
        return f'"{self.type.show(self.default)}"'

    @property
    def shown_default(self) -> str:
        """The default for people: its words, or the value as users write it."""
        if self.default_words or self.default is None:
            return self.default_words
        return self.type.show(self.default)


@dataclass(frozen=True, slots=True)
class Origin:
    """Where a value was set.

    Attributes:
        kind: `default`, `file`, `environment` or `option`; each is stronger than the ones before.
        place: the text that the user can search for: `--memory`, `GCSMUX_MEMORY`, or
            `/etc/gcsmux/data.toml, line 3`; "" for a default.
    """

    kind: str
    place: str = ""


DEFAULT = Origin("default")

KINDS = ("default", "file", "environment", "option")
"""The kinds of origins, in rising strength."""


@dataclass(frozen=True, slots=True)
class EffectiveSetting:
    """The value of a setting after all sources were considered.

    `reason` says why the value is not the written one or the default, if so.
    """

    setting: Setting
    value: Any
    origin: Origin
    reason: str = ""

    @property
    def shown(self) -> str:
        """The value as users write it; "" if there is none. A secret is hidden."""
        if self.value is None:
            return self.setting.type.none_text
        if self.setting.secret and self.value:
            return "(hidden)"
        return self.setting.type.show(self.value)
