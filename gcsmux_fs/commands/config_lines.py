"""Writes the answer of `gcsmux config show` as a TOML file whose comments explain each value.

The output is a valid configuration file, so a user can save it and use it with --config.
"""

from __future__ import annotations

import json
import textwrap
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["config_lines"]

_MIN_COLUMNS = 40


def config_lines(report: Mapping[str, Any], columns: int) -> Iterator[str]:
    """Yield the lines of a report of `settings.adaptations.config_report`.

    Comments are wrapped to `columns` characters.
    """
    heading = ""
    for row in report["settings"]:
        if row["heading"] != heading:
            yield from ([""] if heading else [])
            heading = row["heading"]
            yield f"# {heading}"
        yield _assignment(row)
        yield from _comment(_explanation(row), columns)
    if report["adaptations"]:
        yield ""
        yield "# Chosen by the mount for this machine, bucket and service"
    for each in report["adaptations"]:
        yield f"# {each['name']}: {each['value']}"
        yield from _comment(each["reason"], columns)


def _assignment(row: Mapping[str, Any]) -> str:
    name, value = row["name"], row["value"]
    if value is None:
        return f"# {name}: not set"
    text = json.dumps(value, ensure_ascii=False)
    return f"{name} = {text}" if row["in_file"] else f"# {name}: {text}"


def _explanation(row: Mapping[str, Any]) -> str:
    default = row["default"]
    words = json.dumps(default) if isinstance(default, bool) else default
    default_text = f"default: {words}" if words else "no default"
    if row["default_reason"]:
        default_text += f", because {row['default_reason']}"
    if row["origin"] == "default":
        return f"{row['reason']}; {default_text}" if row["reason"] else default_text
    place = f"{row['origin']}: {row['place']}"
    return "; ".join(part for part in (place, row["reason"], default_text) if part)


def _comment(text: str, columns: int) -> list[str]:
    prefix = "#     "
    return textwrap.wrap(
        text,
        max(columns, _MIN_COLUMNS),
        initial_indent=prefix,
        subsequent_indent=prefix,
        break_long_words=False,
        break_on_hyphens=False,
    )
