"""Tests of bucket addresses: `parse_bucket`, `bucket_address`, and the empty folder warning."""

from __future__ import annotations

import pytest

from gcsmux_fs.model.errors import ConfigError
from gcsmux_fs.settings.bucket_address import bucket_address, empty_folder_warning, parse_bucket


@pytest.mark.parametrize(
    ("text", "only_dir", "expected"),
    [
        ("my-bucket", "", ("my-bucket", "")),
        ("gs://my-bucket", "", ("my-bucket", "")),
        ("gs://my-bucket/", "", ("my-bucket", "")),
        ("gs://my-bucket/a/b", "", ("my-bucket", "a/b/")),
        ("gs://my-bucket/a/b/", "", ("my-bucket", "a/b/")),
        ("my-bucket", "a/b", ("my-bucket", "a/b/")),
        ("gs://my-bucket/a", "b/", ("my-bucket", "a/b/")),
        ("gs://my-bucket//a", "", ("my-bucket", "/a/")),
        ("gs://my-bucket/a//", "", ("my-bucket", "a//")),
        ("my-bucket", "größe, und mehr", ("my-bucket", "größe, und mehr/")),
        ("my_bucket.example.com", "", ("my_bucket.example.com", "")),
        ("b" * 63, "", ("b" * 63, "")),
        (".".join(["b" * 55] * 3), "", (".".join(["b" * 55] * 3), "")),
    ],
)
def test_an_address_gives_bucket_and_prefix(
    text: str, only_dir: str, expected: tuple[str, str]
) -> None:
    assert parse_bucket(text, only_dir) == expected


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is empty"),
        ("gs://", "is empty"),
        ("ab", "its length is 2"),
        ("b" * 64, "its length is 64"),
        ("b" * 64 + ".com", "63 between two"),
        (".".join(["b" * 63] * 4), "its length is 255"),
        ("My-Bucket", "only lower-case"),
        ("my bucket", "only lower-case"),
        ("-bucket", "only lower-case"),
        ("bucket.", "only lower-case"),
        ("s3://bucket", "is not a Google Cloud Storage address"),
        ("bucket/prefix", "is not a bucket: write gs://bucket/prefix,"),
        ("gs:/bucket", "is not a bucket: write gs://bucket,"),
        ("/bucket", "is a path and not a bucket: write name or gs://name,"),
        ("~/bucket", "is a path and not a bucket"),
        ("../bucket", "is a path and not a bucket"),
        ("bucket\n", "only lower-case"),
        ("bücket", "only lower-case"),
        ("bucket/a", "write gs://bucket/a"),
        ("gs://bucket/" + "x" * 1024, "has 1025 bytes"),
        ("gs://bucket/\udcff", "is not UTF-8"),
    ],
)
def test_an_invalid_address_is_refused_with_the_reason(text: str, reason: str) -> None:
    with pytest.raises(ConfigError, match=reason):
        parse_bucket(text)


@pytest.mark.parametrize("prefix", ["", "a/", "/", "a//", "//", "a/b/"])
def test_a_shown_address_is_parsed_as_the_same_bucket_and_prefix(prefix: str) -> None:
    assert parse_bucket(bucket_address("b-1", prefix)) == ("b-1", prefix)


@pytest.mark.parametrize(
    ("prefix", "is_object", "advice"),
    [
        ("dir/hello/", True, "write gs://b-1/dir to mount"),
        ("hello/", True, "write gs://b-1 to mount"),
        ("/", False, "begins with '/': write gs://b-1 if"),
        ("//", False, "begins with '//': write gs://b-1 if"),
        ("/dir/", False, "begins with '/dir/': write gs://b-1/dir if"),
        ("dir/", False, "no object exists below gs://b-1/dir: check the name."),
    ],
)
def test_the_warning_about_an_empty_folder_suggests_an_address(
    prefix: str, is_object: bool, advice: str
) -> None:
    assert advice in empty_folder_warning("b-1", prefix, is_object=is_object)
