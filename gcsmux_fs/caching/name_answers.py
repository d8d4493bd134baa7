"""The kept answers about single names of one directory: packing, and joining new ones; sans-IO.

1. Each name has one answer, the newest. An invalidation says that earlier answers, and the entry in
   an earlier listing, are not used. It stays beside a newer answer until a newer listing is kept.
2. An answer goes when there are too many. An invalidation does not. If there are too many
   invalidations, `join_answers` reports this, and the whole directory is invalidated.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from gcsmux_fs.caching.name_ages import Moment, age_seconds, least_age_seconds
from gcsmux_fs.model.errors import PermissionDenied, StatusCode
from gcsmux_fs.model.values import ObjectInfo
from gcsmux_fs.namespace.child import Directory
from gcsmux_fs.namespace.resolution import Resolution

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable

__all__ = [
    "MAX_ANSWERS",
    "MAX_INVALIDATIONS",
    "KeptAnswer",
    "home_of",
    "join_answers",
    "pack_answers",
    "unpack_answers",
]

MAX_ANSWERS = 1024
"""Maximum number of answers about one directory: 300 KB, which are packed in 10 ms. A directory in
which more names are looked up is listed in the background, and the listing has all its names."""

MAX_INVALIDATIONS = 256
"""Maximum number of invalidated names of one directory."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """What the name `target` led to at the moment `asked`, and when it was invalidated last.

    `resolution` is None if nothing is known. Its own `asked_at` has no meaning here. `invalidated`
    is None if the name was not invalidated since the kept listing of its directory.
    """

    target: str
    asked: Moment
    resolution: Resolution | None = None
    invalidated: Moment | None = None


def home_of(target: str) -> str:
    """Return the directory whose file has the answers about the name or location `target`."""
    return target[: target.rfind("/") + 1]


def join_answers(
    kept: Iterable[KeptAnswer],
    new: Iterable[KeptAnswer],
    now: Moment,
    *,
    listed_seconds_ago: Callable[[str], float] = lambda _: math.inf,
) -> tuple[list[KeptAnswer], bool]:
    """Return the newest answer of each name, and whether all invalidations have room.

    `listed_seconds_ago` returns the age of the kept listing that has a name. Invalidations of the
    name before the listing are not needed, because the listing is newer than what they concern.
    """
    joined: dict[str, KeptAnswer] = {}
    for answer in (*kept, *new):
        known = joined.get(answer.target)
        joined[answer.target] = answer if known is None else _join(known, answer, now)
    invalidations: list[KeptAnswer] = []
    answers: list[KeptAnswer] = []
    for answer in joined.values():
        if answer.invalidated is not None and (
            least_age_seconds(answer.invalidated, now) <= listed_seconds_ago(answer.target)
        ):
            invalidations.append(answer)
        elif answer.resolution is not None:
            answers.append(replace(answer, invalidated=None))
    answers.sort(key=lambda answer: age_seconds(answer.asked, now))
    return invalidations + answers[:MAX_ANSWERS], len(invalidations) <= MAX_INVALIDATIONS


def _join(first: KeptAnswer, second: KeptAnswer, now: Moment) -> KeptAnswer:
    """Return one answer for two about the same name; if they are equally old, `second` counts."""
    newest = min(second, first, key=lambda answer: age_seconds(answer.asked, now))
    moments = [each.invalidated for each in (first, second) if each.invalidated is not None]
    if not moments:
        return newest
    invalidated = min(moments, key=lambda moment: least_age_seconds(moment, now))
    outdated = age_seconds(newest.asked, now) > least_age_seconds(invalidated, now)
    return KeptAnswer(
        newest.target, newest.asked, None if outdated else newest.resolution, invalidated
    )


def pack_answers(answers: Collection[KeptAnswer]) -> bytes:
    """Pack answers as JSON."""
    rows = [
        [
            answer.target,
            _of_moment(answer.asked),
            None if answer.invalidated is None else _of_moment(answer.invalidated),
            None if answer.resolution is None else _of_resolution(answer.resolution),
        ]
        for answer in answers
    ]
    return json.dumps(rows, ensure_ascii=False, separators=(",", ":")).encode()


def unpack_answers(body: memoryview) -> list[KeptAnswer]:
    """Unpack what `pack_answers` has packed.

    Raises:
        ValueError: the data is malformed.
    """
    try:
        return [
            KeptAnswer(
                target,
                _to_moment(asked),
                None if fields is None else _to_resolution(target, fields),
                None if invalidated is None else _to_moment(invalidated),
            )
            for target, asked, invalidated, fields in json.loads(bytes(body))
        ]
    except (TypeError, AttributeError) as error:
        raise ValueError("malformed answers") from error


def _of_moment(moment: Moment) -> list[Any]:
    return [moment.boot.hex(), *moment[1:]]


def _to_moment(fields: list[Any]) -> Moment:
    match fields:
        case [str(boot), int(since_boot_ns), int(day_ns), bool(is_synchronised)]:
            return Moment(bytes.fromhex(boot), since_boot_ns, day_ns, is_synchronised)
    raise ValueError("malformed moment")


def _of_resolution(resolution: Resolution) -> list[Any]:
    directory = resolution.directory
    return [
        _of_info(resolution.info),
        directory is not None,
        None if directory is None else _of_info(directory.placeholder),
        resolution.object_refused is not None,
        resolution.assumed is not None,
    ]


def _to_resolution(target: str, fields: list[Any]) -> Resolution:
    info, exists, placeholder, refused, assumed = fields
    folder = target + "/"
    return Resolution(
        0.0,
        _to_info(info),
        Directory(folder, _to_info(placeholder)) if exists else None,
        _refusal(target) if refused else None,
        Directory(folder, assumed=True) if assumed else None,
    )


def _refusal(target: str) -> PermissionDenied:
    # No program sees this error: an answer that needs it is not used (see `NameCache.newest`).
    return PermissionDenied(
        "the service refused to show the object",
        subject=repr(target),
        code=StatusCode.PERMISSION_DENIED,
    )


def _of_info(info: ObjectInfo | None) -> list[Any] | None:
    if info is None:
        return None
    return [
        info.name,
        info.generation,
        info.size,
        info.mtime_ns,
        info.metageneration,
        info.crc32c,
        info.content_type,
        info.content_encoding,
        info.storage_class,
        dict(info.metadata),
        info.finalized,
    ]


def _to_info(fields: list[Any] | None) -> ObjectInfo | None:
    match fields:
        case None:
            return None
        case [str(), int(), int(), int(), int(), None | int(), str(), str(), str(), dict(), bool()]:
            return ObjectInfo(*fields)
    raise ValueError("malformed object")
