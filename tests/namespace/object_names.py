"""Hypothesis strategies for object names that are difficult as paths."""

from __future__ import annotations

from hypothesis import strategies as st

from gcsmux_fs.namespace.names import MAX_OBJECT_NAME_BYTES

_PIECES = [
    *["a", "foo", "foo", "/", "/", "/", "//", ".", "..", "%", "~", "\n", "\0", "-", "!", "0", " "],
    *["%~", "%file~", "%part~", "%content~", "%other~", "%25", "%00", "é", "€", "😀", "~1"],
    *["x" * 245, "x" * 249, "x" * 255, "é" * 124, "😀" * 62, "\0" * 83, "%" * 83, "/" * 9],
]


def _shorten(name: str) -> str:
    return name.encode()[:MAX_OBJECT_NAME_BYTES].decode(errors="ignore")


names = st.lists(st.sampled_from(_PIECES), min_size=1, max_size=8).map("".join).map(_shorten)

# Few different pieces, so that many buckets have an object, a folder of the same name, and names
# that sort between these two.
_crowded = st.lists(
    st.sampled_from(["a", "a", "/", "/", "-", "0", "x" * 249]), min_size=1, max_size=6
).map("".join)

# Sizes matter only for names that end with a slash: an object of size 0 is a placeholder object.
buckets = st.dictionaries(names | _crowded.map(_shorten), st.integers(0, 1), max_size=12)
