"""The address of a bucket or a folder in it, as users write it and as messages show it."""

from __future__ import annotations

import re

from gcsmux_fs.model.errors import ConfigError

__all__ = ["bucket_address", "empty_folder_warning", "parse_bucket"]

_SCHEME = "gs://"
_BUCKET = re.compile(r"[a-z0-9][a-z0-9._-]+[a-z0-9]")
# The limits of Google Cloud Storage for the name of a bucket:
# https://cloud.google.com/storage/docs/buckets#naming.
_MIN_NAME_CHARACTERS = 3
_MAX_LABEL_CHARACTERS = 63
_MAX_DOTTED_NAME_CHARACTERS = 222
# Maximum size of an object name in Google Cloud Storage. A prefix is the start of an object name,
# so the same limit applies.
_MAX_PREFIX_BYTES = 1024


def parse_bucket(text: str, only_dir: str = "") -> tuple[str, str]:
    """Return the bucket and the prefix in an address: `name`, `gs://name[/prefix]`.

    The folder `only_dir` is appended to the prefix. The returned prefix is empty or ends with `/`.
    Other slashes are kept, because the name of an object may begin with `/` and may contain `//`.

    Raises:
        ConfigError: the text is not a bucket address.
    """
    name, slash, prefix = text.removeprefix(_SCHEME).partition("/")
    if "://" in text and not text.startswith(_SCHEME):
        raise ConfigError(
            f"{text!r} is not a Google Cloud Storage address: write name or gs://name."
        )
    if text.startswith(("/", "./", "../", "~")):
        raise ConfigError(
            f"{text!r} is a path and not a bucket: write name or gs://name, and write it before the"
            " mount point."
        )
    if slash and not text.startswith(_SCHEME):
        suggestion = _SCHEME + text.removeprefix("gs:").lstrip("/")
        raise ConfigError(
            f"{text!r} is not a bucket: write {suggestion}, or the bucket's name alone."
        )
    _check_bucket_name(name)
    joined = _with_slash(prefix) + _with_slash(only_dir)
    try:
        size = len(joined.encode())
    except UnicodeEncodeError:
        raise ConfigError(
            f"the prefix {joined!r} is not UTF-8: write it in UTF-8, because object names always"
            " are."
        ) from None
    if size > _MAX_PREFIX_BYTES:
        raise ConfigError(
            f"the prefix has {size} bytes: write at most {_MAX_PREFIX_BYTES} bytes, which is the"
            " limit for an object name."
        )
    return name, joined


def _with_slash(prefix: str) -> str:
    return prefix if not prefix or prefix.endswith("/") else prefix + "/"


def _check_bucket_name(name: str) -> None:
    """Raise ConfigError if the service would never accept `name` as the name of a bucket."""
    if not name:
        raise ConfigError("the bucket name is empty: write name, gs://name or gs://name/prefix.")
    longest = _MAX_DOTTED_NAME_CHARACTERS if "." in name else _MAX_LABEL_CHARACTERS
    if not _MIN_NAME_CHARACTERS <= len(name) <= longest or any(
        len(label) > _MAX_LABEL_CHARACTERS for label in name.split(".")
    ):
        raise ConfigError(
            f"{name!r} is not a bucket name, because its length is {len(name)}: write"
            f" {_MIN_NAME_CHARACTERS} to {_MAX_LABEL_CHARACTERS} characters, or up to"
            f" {_MAX_DOTTED_NAME_CHARACTERS} with dots and at most {_MAX_LABEL_CHARACTERS} between"
            " two dots."
        )
    if not _BUCKET.fullmatch(name):
        raise ConfigError(
            f"{name!r} is not a bucket name: write only lower-case letters, digits, '-', '_' and"
            " '.', with a letter or a digit at both ends."
        )


def bucket_address(bucket: str, prefix: str) -> str:
    """Return `gs://bucket` or `gs://bucket/prefix`; `parse_bucket` converts this text back."""
    address = f"{_SCHEME}{bucket}/{prefix}"
    # A single slash at the end is left out, because `parse_bucket` adds a missing slash. Two
    # slashes at the end stay, because both are part of the object names.
    return address if address.endswith("//") else address.removesuffix("/")


def empty_folder_warning(bucket: str, prefix: str, *, is_object: bool) -> str:
    """Return a warning that the mounted folder contains no object, so its name may be wrong.

    `is_object` is true if an object exists whose name is the prefix without the last slash.
    """
    name = prefix.removesuffix("/")
    if is_object:
        folder = bucket_address(bucket, name.rpartition("/")[0])
        return (
            f"gs://{bucket}/{name} is an object, not a folder, and no object exists below it:"
            f" write {folder} to mount the folder that contains it."
        )
    if prefix.startswith("/"):
        suggestion = bucket_address(bucket, name.lstrip("/"))
        return (
            f"no object in gs://{bucket} has a name that begins with {prefix!r}: write"
            f" {suggestion} if the leading slash is a mistake."
        )
    return f"no object exists below gs://{bucket}/{name}: check the name."
