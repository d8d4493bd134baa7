"""Tests of which file name follows a numbered file name."""

from __future__ import annotations

import pytest

from gcsmux_fs.filesystem.shard_names import is_numbered_set, next_numbered


@pytest.mark.parametrize(
    ("name", "following"),
    [
        ("model-00001-of-00008.safetensors", "model-00002-of-00008.safetensors"),
        ("model-00008-of-00008.safetensors", None),
        ("llama-3.1-70b-00009-of-00012.gguf", "llama-3.1-70b-00010-of-00012.gguf"),
        ("data-00000-of-00010", "data-00001-of-00010"),
        ("pytorch_model-9.bin", "pytorch_model-10.bin"),
        ("shard_099.pt", "shard_100.pt"),
        ("part9", "part10"),
        ("x.001", "x.002"),
        ("video7.mp4", "video8.mp4"),
        ("grid3.h5", "grid4.h5"),
        ("5-train.tar.gz", "6-train.tar.gz"),
        ("consolidated.00.pth", "consolidated.01.pth"),
        ("model.safetensors", None),
        ("", None),
        ("²³", None),
    ],
)
def test_next_name_has_the_next_number(name: str, following: str | None) -> None:
    assert next_numbered(name) == following


def test_a_numbered_set_has_a_count() -> None:
    assert is_numbered_set("model-00001-of-00008.safetensors")
    assert not is_numbered_set("model-00001.safetensors")
    assert not is_numbered_set("best-of.bin")
