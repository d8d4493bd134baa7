"""Names of objects as hypothesis makes them: short, from letters on both sides of the slash."""

from __future__ import annotations

from hypothesis import strategies as st

# Before and after "/" in order, the slash itself, two- to four-byte letters, the last code point
# before the surrogates and the last of all.
LETTERS = [
    "a",
    "b",
    "-",
    ".",
    "0",
    "/",
    "\n",
    "ü",
    "\ud7ff",
    "\ue000",
    "\uffff",
    "🪣",
    "\U0010ffff",
]

names = st.text(st.sampled_from(LETTERS), min_size=1, max_size=6)
maybe_names = st.text(st.sampled_from(LETTERS), max_size=4)
