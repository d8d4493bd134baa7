"""Tests of the kernel's readahead window of a mount by root and of a mount by another user."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from tests.mount.operations import block

if TYPE_CHECKING:
    from tests.commands.conftest import Role

pytestmark = pytest.mark.mount

# The function `window` prints the window of the mount in KiB.
FUNCTIONS = """\
window() { cat "/sys/class/bdi/$(findmnt -rno MAJ:MIN -M "$MNT")/read_ahead_kb"; }
mount_it() { $AS gcsmux-mount --log-file "$FOLDER/mnt.log" "$@" my-bucket "$MNT"; }
set -e; touch "$FOLDER/mnt.log"; chmod 666 "$FOLDER/mnt.log"
"""
LINE = r"INFO .*the kernel reads ahead 128 KiB, because writing /sys/class/bdi/.* failed"


def privileged_step() -> str:
    """Return the command of the drop-in in docs/OPERATIONS.md, as the shell sees it."""
    (line,) = [each for each in block("ini").splitlines() if each.startswith("ExecStartPost=-+")]
    return (
        line.removeprefix("ExecStartPost=-+").replace("$$", "$").replace("${MOUNTPOINT}", '"$MNT"')
    )


def test_only_root_may_set_the_window_and_another_user_reads_the_remedy_in_the_log(
    role: Role,
) -> None:
    script = 'mount_it; window; $AS cat "$MNT/dir/hello"; cat "$FOLDER/mnt.log";'
    before, content, *log, after = role.run(
        FUNCTIONS + script + (f"{privileged_step()}; window" if role.user else "window")
    ).splitlines()
    assert content == "hello"
    lines = [line for line in log if re.search(LINE, line)]
    assert (before, len(lines)) == (("128", 1) if role.user else ("1024", 0))
    assert not [line for line in log if " WARNING " in line]
    assert after == "1024"


def test_a_size_is_the_window_of_all_files(role: Role) -> None:
    size = "0" if role.user else "4MiB"
    window = role.run(
        FUNCTIONS + f'mount_it --kernel-read-ahead {size}; $AS cat "$MNT/dir/hello"; window'
    )
    assert window.split() == ["hello", "128" if role.user else "4096"]
    assert "the kernel reads ahead" not in (role.folder / "mnt.log").read_text()
