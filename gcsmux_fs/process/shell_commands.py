"""Commands in sentences for users, written so that a shell takes them as they are.

Every command that a sentence tells to run stands between two backquotes: what belongs to it is
then plain, even where the sentence goes on with a full stop. A test finds the commands by them,
and runs each.
"""

from __future__ import annotations

import os
import shlex

__all__ = ["command", "unmount_command"]


def command(*words: str | os.PathLike[str]) -> str:
    """Return a command between backquotes, each of its words quoted for a shell where need be."""
    return f"`{' '.join(_shell_word(os.fspath(word)) for word in words)}`"


def unmount_command(
    path: str | os.PathLike[str], *, user: int, owner: int | None, lazily: bool = False
) -> str | None:
    """Return the command by which `user` unmounts `path`, or None where that user may not.

    `owner` is the user who mounted a FUSE file system, None for any other. `lazily` detaches a
    mount that is in use, or that does not answer.
    """
    if user == 0:
        return command("umount", *(["-l"] if lazily else []), path)
    if user == owner:
        return command("fusermount3", "-u", *(["-z"] if lazily else []), path)
    return None


def _shell_word(word: str) -> str:
    """Quote a word; one with bytes that a log line may not hold takes bash's way, $'...'."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(_escaped(character) for character in word)}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
