"""Shell commands inside messages, quoted so that a user can copy them into a shell.

Each command is between two backquotes, which separate the command from the punctuation of the
message. A test extracts the commands from the messages and runs each command.
"""

from __future__ import annotations

import os
import shlex

__all__ = ["command", "command_line", "unmount_command"]


def command(*words: str | os.PathLike[str]) -> str:
    """Return a command between backquotes, with each word quoted for a shell where necessary."""
    return f"`{command_line(*words)}`"


def command_line(*words: str | os.PathLike[str]) -> str:
    """Return a command for a line of its own, with each word quoted for a shell."""
    return " ".join(_shell_word(os.fspath(word)) for word in words)


def unmount_command(
    path: str | os.PathLike[str], *, user: int, owner: int | None, lazily: bool = False
) -> str | None:
    """Return the command by which `user` can unmount `path`, or None if the user cannot.

    `owner` is the user who mounted the FUSE file system at `path`, or None if another kind of file
    system is mounted there. With `lazily`, the command also detaches a mount that is in use or does
    not answer.
    """
    if user == 0:
        return command("umount", *(["-l"] if lazily else []), path)
    if user == owner:
        return command("fusermount3", "-u", *(["-z"] if lazily else []), path)
    return None


def _shell_word(word: str) -> str:
    """Quote a word for a shell; an unprintable word as $'...', a form that bash reads."""
    if word.isprintable():
        return shlex.quote(word)
    return f"$'{''.join(_escaped(character) for character in word)}'"


def _escaped(character: str) -> str:
    if character in "\\'":
        return "\\" + character
    if character.isprintable():
        return character
    return "".join(f"\\{byte:03o}" for byte in os.fsencode(character))
