"""Reads the settings of a TOML file; every mistake is one sentence with file and line.

The file has keys and no tables. A key is the name of a setting, with `_` or `-`. A relative path is
relative to the folder of the file, so the working directory never matters, and `~` is the home
directory.
"""

from __future__ import annotations

import re
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.similar_names import closest_name
from gcsmux_fs.settings.value_types import COMMAND, join_words

if TYPE_CHECKING:
    from collections.abc import Mapping

    from gcsmux_fs.settings.setting import Setting

__all__ = ["ConfigFileMissing", "FileValue", "parse_config", "read_config"]

# These two patterns are compiled when a file has an error, because all commands import this module.
# The place of an error at the end of a message of `tomllib`.
_PLACE = r"(?P<message>.*) \(at (?:line (?P<line>\d+), column (?P<column>\d+)|end of .*)\)"
# A line such as `memory = 1GiB`, whose value lacks its quotes.
_UNQUOTED = r"""\s*(?P<key>[\w-]+)\s*=\s*(?P<value>[^\s"'\[{#][^#"']*?)\s*(#.*)?"""
_TYPE_NAMES = {bool: "true or false", int: "a number", float: "a number", str: "a text"}


class ConfigFileMissing(ConfigError):
    """The configuration file does not exist."""


@dataclass(frozen=True, slots=True)
class FileValue:
    """A value of a configuration file. `place` names the file and the line."""

    value: Any
    place: str


def read_config(path: Path, known: Mapping[str, Setting]) -> dict[str, FileValue]:
    """Return the values in a TOML file by the names of their settings.

    Raises:
        ConfigFileMissing: the file does not exist.
        ConfigError: the file cannot be read, or `parse_config` refuses it.
    """
    try:
        # A mount process reads the file a second time, which a pipe does not permit.
        mode = path.stat().st_mode
        if not stat.S_ISREG(mode):
            raise ConfigError(f"{path} is not a regular file: write the path of a TOML file.")
        content = path.read_bytes()
    except OSError as error:
        missing = isinstance(error, FileNotFoundError)
        kind = ConfigFileMissing if missing else ConfigError
        raise kind(f"{path} cannot be read: {error.strerror}.") from None
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise ConfigError(
            f"{path}, line {line}: the text is not UTF-8: save it as UTF-8."
        ) from None
    values = parse_config(text, path, known)
    commands = [name for name in values if known[name].type is COMMAND]
    if commands and mode & stat.S_IWOTH:
        raise ConfigError(
            f"{path} contains {commands[0]}, and every user may change the file: remove the write"
            " permission of other users."
        )
    return values


def parse_config(text: str, path: Path, known: Mapping[str, Setting]) -> dict[str, FileValue]:
    """Return the values in the text of a TOML file by the names of their settings.

    `known` has the settings that a file may contain, by name.

    Raises:
        ConfigError: the text is not TOML, or a key or a value is wrong.
    """
    # Imported here, because it takes 2 ms, and most commands read no file.
    import tomllib

    lines = text.splitlines()
    try:
        content = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(_syntax_error(str(error), path, lines, known)) from None
    except (ValueError, RecursionError):
        raise ConfigError(
            f"{path}: a number has thousands of digits, or brackets are nested too deeply."
        ) from None
    values: dict[str, FileValue] = {}
    for key, raw in content.items():
        name = key.replace("-", "_")
        line = _line_of(key, lines)
        where = f"{path}, line {line}"
        if name not in known:
            raise ConfigError(f"{where}: {_unknown_key(key, raw, known)}")
        if name in values:
            raise ConfigError(f"{where}: the key {name} is set twice: delete one line.")
        try:
            value = _value(known[name], raw, path.parent)
        except ConfigError as error:
            raise ConfigError(f"{where}: {key}: {error}") from None
        values[name] = FileValue(value, where)
    return values


def _value(setting: Setting, raw: object, folder: Path) -> Any:
    kind = setting.type
    accepts_number = kind.numbers and isinstance(raw, (int, float)) and not isinstance(raw, bool)
    if kind.is_flag and isinstance(raw, bool):
        return raw
    if kind.is_list and isinstance(raw, list) and all(isinstance(each, str) for each in raw):
        return kind.parse(join_words(raw))
    if kind.is_flag or not (isinstance(raw, str) or accepts_number):
        found = _TYPE_NAMES.get(type(raw), f"of the type {type(raw).__name__}")
        raise ConfigError(f"the value is {found}: write {setting.name} = {kind.example}.")
    try:
        text = str(raw)
        if kind.is_path and text:
            text = str(folder / Path(text).expanduser())
    except ValueError:
        raise ConfigError("the number has thousands of digits: write a smaller one.") from None
    except RuntimeError:
        raise ConfigError(f"{raw!r} names an unknown user: write an absolute path.") from None
    if "\0" in text:
        raise ConfigError("the value contains the character NUL: delete it.")
    return kind.parse(text)


def _line_of(key: str, lines: list[str]) -> int:
    """Return the number of the line that defines a key or a table; 1 if no line is found."""
    pattern = re.compile(rf"""\s*\[*\s*["']?{re.escape(key)}["']?\s*[=.\]]""")
    return next((number for number, line in enumerate(lines, 1) if pattern.match(line)), 1)


def _unknown_key(key: str, raw: object, known: Mapping[str, Setting]) -> str:
    if isinstance(raw, dict):
        return f"[{key}] is a table: write every key without a table."
    guess = closest_name(key.lower().replace("-", "_"), known)
    hint = f"did you mean {guess}?" if guess else "docs/CONFIGURATION.md lists all keys."
    return f"unknown key {key}: {hint}"


def _syntax_error(message: str, path: Path, lines: list[str], known: Mapping[str, Setting]) -> str:
    match = re.fullmatch(_PLACE, message)
    reason = match["message"] if match else message
    # Without a line the place is the end of the text.
    number = int(match["line"]) if match and match["line"] else max(1, len(lines))
    line = lines[number - 1] if number <= len(lines) else ""
    where = f"{path}, line {number}"
    if "overwrite" in reason:
        return f"{where}: the key {line.partition('=')[0].strip()} is set twice: delete one line."
    if match and match["column"]:
        where += f", column {match['column']}"
    if unquoted := re.fullmatch(_UNQUOTED, line):
        key, value = unquoted["key"], unquoted["value"]
        setting = known.get(key.replace("-", "_"))
        value = "..." if setting is not None and setting.secret else value
        return f'{where}: the value lacks its quotes: write {key} = "{value}".'
    return f"{where}: ill-formed TOML: {reason[:1].lower()}{reason[1:]}."
