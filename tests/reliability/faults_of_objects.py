"""Rows with objects that change during a read, inconsistent metadata, and faulty listings."""

from __future__ import annotations

from gcsmux_fs.emulator.faults import (
    Delete,
    InjectionPoint,
    Overwrite,
    PageAgain,
    PageEmpty,
    PageTokenTarget,
    PageUnsorted,
    Status,
    WrongGeneration,
    WrongSize,
)
from gcsmux_fs.emulator.injection.rules import FOR_EVER, Rule
from gcsmux_fs.model.errors import StatusCode
from tests.reliability.rows import FRESH, RIGHT, SHORT, After, Group, Reader, Row

__all__ = ["GROUPS"]

_STREAM = "BidiReadObject"
_CUT = Rule(Status(), method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=300_000, name="cut")


def _changed(what: str, fault: Overwrite | Delete, *, cut: bool, sees: str, grown: int = 0) -> Row:
    rule = Rule(fault, method=_STREAM, at=InjectionPoint.CONTENT, after_bytes=300_000)
    return Row(
        f"{what} during a read" + (" whose stream is cut" if cut else ""),
        (rule, _CUT) if cut else (rule,),
        requests=30,
        sees=sees,
        mount=FRESH,
        after=After.GONE if isinstance(fault, Delete) else After.REWRITTEN,
        grown_bytes=grown,
        counters={"ranges_failed": 0 if sees == RIGHT else 1},
    )


_CHANGES = Group(
    "Objects that change during a read",
    (
        _changed("an overwrite", Overwrite(), cut=False, sees=RIGHT),
        _changed("an overwrite", Overwrite(), cut=True, sees="ESTALE"),
        _changed("an overwrite in place", Overwrite(in_place=True), cut=False, sees="ESTALE"),
        _changed(
            "a larger overwrite",
            Overwrite(10_000),
            cut=True,
            sees="ESTALE",
            grown=10_000,
        ),
        _changed(
            "a smaller overwrite",
            Overwrite(-9_999),
            cut=True,
            sees="ESTALE",
            grown=-9_999,
        ),
        _changed("a deletion", Delete(), cut=False, sees=RIGHT),
        _changed("a deletion", Delete(), cut=True, sees="ESTALE"),
    ),
)

_CONTRADICTIONS = Group(
    "Inconsistent metadata",
    (
        Row(
            "a stream states another generation",
            (Rule(WrongGeneration(), method=_STREAM, times=FOR_EVER),),
            requests=12,
            sees="ESTALE",
            counters={"ranges_failed": 1},
        ),
        Row(
            "a lookup states a generation that does not exist",
            (Rule(WrongGeneration(), method="ListObjects", object="*/large"),),
            requests=16,
            mount=FRESH,
            counters={"ranges_failed": 1},
        ),
        *(
            Row(
                f"a stream states a size that is {abs(by):,} too {what}",
                (Rule(WrongSize(by), method=_STREAM, times=FOR_EVER),),
                requests=16,
                counters={"ranges_failed": 0},
            )
            for by, what in ((-1, "small"), (-2_000_000, "small"))
        ),
        Row(
            "a stream states a size that is 1 too large",
            (Rule(WrongSize(1), method=_STREAM, times=FOR_EVER),),
            requests=16,
            sees="ESTALE",
            counters={"ranges_failed": 1},
        ),
        Row(
            "a lookup states a size that is too large",
            (Rule(WrongSize(1000), method="ListObjects", object="*/large", times=FOR_EVER),),
            requests=16,
            sees="ESTALE",
            mount=FRESH,
            counters={"ranges_failed": 1},
        ),
        Row(
            "a lookup states a size that is too small",
            (Rule(WrongSize(-1000), method="ListObjects", object="*/large", times=FOR_EVER),),
            requests=16,
            sees="ESTALE",
            mount=FRESH,
            counters={"ranges_failed": 1},
        ),
    ),
)

_LISTINGS = Group(
    "Listings",
    (
        Row(
            "a page token that returns the same page",
            (
                Rule(
                    PageAgain(PageTokenTarget.PAGE),
                    method="ListObjects",
                    object="row-*/",
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            reader=Reader.MANY,
            sees="EIO",
            counters={"unary_requests": 3},
        ),
        Row(
            "a page token that returns the first page",
            (
                Rule(
                    PageAgain(PageTokenTarget.START),
                    method="ListObjects",
                    object="row-*/",
                    resumed=True,
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            reader=Reader.MANY,
            sees="EIO",
            counters={"unary_requests": 4},
        ),
        Row(
            "an empty page before the others",
            (Rule(PageEmpty(), method="ListObjects", object="row-*/", resumed=False),),
            requests=12,
            reader=Reader.MANY,
            counters={"unary_requests": 4},
        ),
        Row(
            "empty pages without end, each with a new token",
            (Rule(PageEmpty(), method="ListObjects", object="row-*/", times=FOR_EVER),),
            requests=60,
            reader=Reader.MANY,
            sees="ETIMEDOUT",
            mount=SHORT,
            counters={"unary_requests": 10},
        ),
        Row(
            "unsorted pages",
            (Rule(PageUnsorted(), method="ListObjects", object="row-*/", times=FOR_EVER),),
            requests=12,
            reader=Reader.MANY,
            counters={"unary_requests": 3},
        ),
        Row(
            "a listing whose second page fails three times",
            (
                Rule(
                    Status(),
                    method="ListObjects",
                    object="row-*/",
                    resumed=True,
                    times=3,
                ),
            ),
            requests=12,
            reader=Reader.MANY,
            counters={"unary_requests": 6},
        ),
        Row(
            "a listing whose second page is refused",
            (
                Rule(
                    Status(StatusCode.PERMISSION_DENIED),
                    method="ListObjects",
                    object="row-*/",
                    resumed=True,
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            reader=Reader.MANY,
            sees="EACCES",
            counters={"unary_requests": 3},
        ),
        Row(
            "a page token that is refused",
            (
                Rule(
                    Status(StatusCode.INVALID_ARGUMENT),
                    method="ListObjects",
                    object="row-*/",
                    resumed=True,
                    times=FOR_EVER,
                ),
            ),
            requests=12,
            reader=Reader.MANY,
            sees="EINVAL",
            counters={"unary_requests": 3},
        ),
        Row(
            "listings that state other generations",
            (
                Rule(
                    WrongGeneration(),
                    method="ListObjects",
                    object="row-*/",
                    times=FOR_EVER,
                ),
            ),
            requests=30,
            reader=Reader.NAMES,
            counters={"ranges_failed": 1},
        ),
    ),
)

GROUPS = (_CHANGES, _CONTRADICTIONS, _LISTINGS)
