"""Writes the reference in docs/CONFIGURATION.md from the table of settings.

`make docs` runs this script. With --check it changes nothing, and exits with 1 if the document
differs from the table.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from gcsmux_fs.settings.setting_table import CONFIG, HEADINGS, SETTINGS
from gcsmux_fs.settings.value_types import WORDS

if TYPE_CHECKING:
    from gcsmux_fs.settings.setting import Setting

_DOCUMENT = Path(__file__).parents[1] / "docs" / "CONFIGURATION.md"
_BEGIN, _END = "<!-- begin of the reference -->\n", "<!-- end of the reference -->\n"


def _entry(setting: Setting) -> str:
    option = " ".join(filter(None, (setting.option, setting.type.metavar)))
    names = [f"`{setting.short}`"] if setting.short else []
    names.append(f"`{option}`" if not setting.is_argument else f"argument `{setting.option}`")
    if setting.type is WORDS:
        names = [f"`-o {setting.type.metavar}`"]
    if setting.type.is_flag and not setting.option_only:
        names.append(f"`--no-{setting.long_name}`")
    if setting.option_only:
        names.append("only on the command line")
    elif setting is CONFIG:
        names.append(f"`{setting.variable}`")
    else:
        names += [f"`{setting.name} = {setting.file_value}`", f"`{setting.variable}`"]
    default = setting.shown_default
    if setting.type.is_flag:
        default = "off" if not setting.default else "on"
    reason = f", because {setting.reason}" if setting.reason else ""
    lines = [f"### {setting.name}", "", " · ".join(names), "", setting.help]
    if default:
        lines += ["", f"Default: {default}{reason}."]
    return "\n".join(lines) + "\n"


def reference() -> str:
    """Return the text of the reference."""
    parts = []
    for heading in HEADINGS:
        parts.append(f"## {heading}\n")
        parts += [_entry(setting) for setting in (CONFIG, *SETTINGS) if setting.heading == heading]
    return "\n" + "\n".join(parts) + "\n"


def main() -> int:
    """Write or check the document; return the exit code."""
    text = _DOCUMENT.read_text()
    pattern = re.compile(re.escape(_BEGIN) + ".*" + re.escape(_END), re.DOTALL)
    new = pattern.sub(lambda _: _BEGIN + reference() + _END, text)
    if "--check" in sys.argv:
        return int(new != text)
    _DOCUMENT.write_text(new)
    return 0


if __name__ == "__main__":
    sys.exit(main())
