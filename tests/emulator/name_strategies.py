"""Hypothesis strategies for object names."""

from __future__ import annotations

from hypothesis import strategies as st

# The characters of the generated names: some that sort before and after "/", some with two to four
# UTF-8 bytes, the last code point before the surrogates, and the last code point of Unicode.
CHARACTERS = [
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

names = st.text(st.sampled_from(CHARACTERS), min_size=1, max_size=6)
maybe_names = st.text(st.sampled_from(CHARACTERS), max_size=4)
