"""Damages files of a cache directory: what failing disks, other programs and attackers do to it.

Every function in `DAMAGES` changes the file or directory `victim`. `other` is a second file of the
same directory tree, and `random` decides about offsets and sizes.
"""

from __future__ import annotations

import os
import shutil
import socket
import stat
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path
    from random import Random

__all__ = ["DAMAGES", "files_below"]

# What is copied of a file, which may have been extended to a terabyte.
_MOST_BYTES = 1024 * 1024
# User and group to which `_give_away` changes files: "nobody" on Debian.
_NOBODY = 65534


def files_below(root: Path) -> list[Path]:
    """Return all regular files below `root`, sorted by path; links are not followed."""
    return sorted(path for path in root.rglob("*") if not path.is_symlink() and path.is_file())


def _flip(victim: Path, other: Path, random: Random) -> None:
    size = victim.stat().st_size
    if size:
        # Headers are small and matter most, so half of the flips are in the first 4 KiB.
        place = random.randrange(min(size, 4096) if random.random() < 0.5 else size)
        _write(victim, place, bytes([_read(victim, place, 1)[0] ^ 1 << random.randrange(8)]))


def _zero(victim: Path, other: Path, random: Random) -> None:
    _overwrite(victim, random, lambda size: bytes(size))


def _garble(victim: Path, other: Path, random: Random) -> None:
    _overwrite(victim, random, random.randbytes)


def _copy_within(victim: Path, other: Path, random: Random) -> None:
    size = victim.stat().st_size
    _overwrite(victim, random, lambda count: _read(victim, random.randrange(max(1, size)), count))


def _copy_part(victim: Path, other: Path, random: Random) -> None:
    _overwrite(victim, random, lambda count: _read(other, 0, count))


def _transplant(victim: Path, other: Path, random: Random) -> None:
    """Copy all but the first bytes, which in a chunk file say whose content follows."""
    if victim != other and other.stat().st_size > 64:
        _write(victim, 64, _read(other, 64, _MOST_BYTES))


def _truncate(victim: Path, other: Path, random: Random) -> None:
    os.truncate(victim, random.randrange(victim.stat().st_size + 1))


def _extend(victim: Path, other: Path, random: Random) -> None:
    _write(victim, victim.stat().st_size, random.randbytes(random.choice([1, 8, 4096, 20_000])))


def _extend_hole(victim: Path, other: Path, random: Random) -> None:
    os.truncate(victim, victim.stat().st_size + random.choice([1, 4096, 1 << 30, 1 << 40]))


def _swap(victim: Path, other: Path, random: Random) -> None:
    if victim != other:
        spare = victim.with_name(victim.name + ".spare")
        victim.rename(spare)
        other.rename(victim)
        spare.rename(other)


def _rename(victim: Path, other: Path, random: Random) -> None:
    other.replace(victim)


def _copy(victim: Path, other: Path, random: Random) -> None:
    if victim != other:
        victim.write_bytes(_read(other, 0, _MOST_BYTES))


def _link(victim: Path, other: Path, random: Random) -> None:
    if victim != other:
        victim.unlink()
        victim.hardlink_to(other)


def _symlink(victim: Path, other: Path, random: Random) -> None:
    if victim != other:
        victim.unlink()
        victim.symlink_to(other)


def _symlink_to_itself(victim: Path, other: Path, random: Random) -> None:
    target = random.choice([victim.name, "/dev/zero", "/nonexistent", "..", "/proc/self/mem"])
    victim.unlink()
    victim.symlink_to(target)


def _moved_symlink(victim: Path, other: Path, random: Random) -> None:
    """Replace the file by a link to itself under another name: the right bytes by a wrong way."""
    moved = victim.with_name(victim.name + ".moved")
    victim.rename(moved)
    victim.symlink_to(moved.name)


def _directory(victim: Path, other: Path, random: Random) -> None:
    victim.unlink()
    victim.mkdir()
    (victim / "file").write_bytes(b"x")


def _fifo(victim: Path, other: Path, random: Random) -> None:
    victim.unlink()
    os.mkfifo(victim)


def _socket(victim: Path, other: Path, random: Random) -> None:
    victim.unlink()
    here = os.open(victim.parent, os.O_PATH)
    try:
        with socket.socket(socket.AF_UNIX) as made:
            made.bind(f"/proc/self/fd/{here}/{victim.name}"[:107])
    finally:
        os.close(here)


def _device(victim: Path, other: Path, random: Random) -> None:
    victim.unlink()
    device = random.choice([os.makedev(1, 5), os.makedev(1, 7), os.makedev(1, 3)])
    try:
        os.mknod(victim, stat.S_IFCHR | 0o666, device)  # zero, full or null
    except PermissionError:
        os.mkfifo(victim)


def _remove(victim: Path, other: Path, random: Random) -> None:
    victim.unlink()


def _remove_directory(victim: Path, other: Path, random: Random) -> None:
    shutil.rmtree(victim.parent)


def _replace_directory(victim: Path, other: Path, random: Random) -> None:
    shutil.rmtree(victim.parent)
    victim.parent.write_bytes(b"not a directory")


def _link_directory(victim: Path, other: Path, random: Random) -> None:
    moved = victim.parent.with_name(victim.parent.name + ".moved")
    victim.parent.rename(moved)
    victim.parent.symlink_to(moved.name, target_is_directory=True)


def _forbid(victim: Path, other: Path, random: Random) -> None:
    victim.chmod(random.choice([0, 0o200, 0o400, 0o666, 0o4755]))


def _give_away(victim: Path, other: Path, random: Random) -> None:
    if os.geteuid() == 0:
        os.chown(victim, _NOBODY, _NOBODY)


def _overwrite(victim: Path, random: Random, new: Callable[[int], bytes]) -> None:
    size = victim.stat().st_size
    if size:
        place = random.randrange(size)
        length = min(size - place, random.choice([1, 4, 8, 512, 4096, 16_384]))
        _write(victim, place, new(length))


def _read(victim: Path, place: int, count: int) -> bytes:
    file = os.open(victim, os.O_RDONLY)
    try:
        return os.pread(file, count, place)
    finally:
        os.close(file)


def _write(victim: Path, place: int, content: bytes) -> None:
    file = os.open(victim, os.O_WRONLY)
    try:
        os.pwrite(file, content, place)
    finally:
        os.close(file)


DAMAGES: Mapping[str, Callable[[Path, Path, Random], None]] = {
    damage.__name__.strip("_"): damage
    for damage in (
        _flip,
        _zero,
        _garble,
        _copy_within,
        _copy_part,
        _transplant,
        _truncate,
        _extend,
        _extend_hole,
        _swap,
        _rename,
        _copy,
        _link,
        _symlink,
        _symlink_to_itself,
        _moved_symlink,
        _directory,
        _fifo,
        _socket,
        _device,
        _remove,
        _remove_directory,
        _replace_directory,
        _link_directory,
        _forbid,
        _give_away,
    )
}
"""All kinds of damage by name."""
