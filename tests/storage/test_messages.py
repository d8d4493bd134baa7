"""Tests that our protobuf classes and Google's classes read each other's messages."""

from __future__ import annotations

from typing import TYPE_CHECKING, cast

import pytest
from google.cloud import storage_control_v2
from google.cloud._storage_v2 import types
from google.iam.v1 import iam_policy_pb2
from google.longrunning import operations_pb2
from google.protobuf.descriptor import FieldDescriptor
from google.rpc import error_details_pb2, status_pb2

from gcsmux_fs.storage.pb import storage_pb2 as pb

if TYPE_CHECKING:
    from google._upb import _message as upb
    from google.protobuf.descriptor import Descriptor
    from google.protobuf.message import Message

    AnyField = FieldDescriptor | upb.FieldDescriptor
    AnyDescriptor = Descriptor | upb.Descriptor

SHARED = sorted(pb.DESCRIPTOR.message_types_by_name)
# Messages that belong to other packages than google.storage.v2 and google.storage.control.v2.
OTHERS = {
    "RpcStatus": status_pb2.Status,
    "RetryInfo": error_details_pb2.RetryInfo,
    "TestIamPermissionsRequest": iam_policy_pb2.TestIamPermissionsRequest,
    "TestIamPermissionsResponse": iam_policy_pb2.TestIamPermissionsResponse,
    "Operation": operations_pb2.Operation,
    "GetOperationRequest": operations_pb2.GetOperationRequest,
}

# A message as plain values by field number. A map is a dict, a repeated field is a list.
Plain = dict[int, object]


def ours(name: str) -> type[Message]:
    return cast("type[Message]", getattr(pb, name))


def theirs(name: str) -> type[Message]:
    if name in OTHERS:
        return cast("type[Message]", OTHERS[name])
    package = types if hasattr(types, name) else storage_control_v2.types
    return cast("type[Message]", getattr(package, name).pb())


def is_map(field: AnyField) -> bool:
    return field.message_type is not None and field.message_type.GetOptions().map_entry


def scalar(field: AnyField, depth: int) -> int | bool | str | bytes:
    """Return a value that differs for each field and depth, and from the default value."""
    number = field.number * 1000 + depth + 1
    if field.cpp_type == FieldDescriptor.CPPTYPE_BOOL:
        return True
    if field.cpp_type == FieldDescriptor.CPPTYPE_STRING:
        text = f"ü{number}"
        return text.encode() if field.type == FieldDescriptor.TYPE_BYTES else text
    if field.type == FieldDescriptor.TYPE_INT64:
        return -number
    return number


def fill(message: Message, like: AnyDescriptor, variant: int, depth: int = 0) -> None:
    """Set each field of `message` that `like` also has. In a oneof, set field `variant` only."""
    for field in message.DESCRIPTOR.fields:
        shared = like.fields_by_number.get(field.number)
        if shared is None:
            continue
        oneof = shared.containing_oneof
        if oneof is not None and len(oneof.fields) > 1:
            chosen = oneof.fields[variant % len(oneof.fields)]
            if chosen.number != field.number:
                continue
        if is_map(field):
            getattr(message, field.name)[f"k{depth}"] = f"v{depth}"
        elif field.message_type is not None and shared.message_type is not None:
            target = getattr(message, field.name)
            parts = [target.add(), target.add()] if field.is_repeated else [target]
            for part in parts:
                part.SetInParent()
                fill(part, shared.message_type, variant, depth + 1)
        elif field.is_repeated:
            getattr(message, field.name).append(scalar(field, depth))
        else:
            setattr(message, field.name, scalar(field, depth))


def plain(message: Message) -> Plain:
    """Return the values of the fields that are set, by field number."""
    values: Plain = {}
    for field, value in message.ListFields():
        if is_map(field):
            values[field.number] = dict(value)
        elif field.message_type is not None:
            values[field.number] = (
                [plain(part) for part in value] if field.is_repeated else plain(value)
            )
        else:
            values[field.number] = list(value) if field.is_repeated else value
    return values


def transferred(sender: Message, receiver: type[Message]) -> Plain:
    received = receiver()
    received.ParseFromString(sender.SerializeToString())
    return plain(received)


@pytest.mark.parametrize("variant", range(3))
@pytest.mark.parametrize("name", SHARED)
def test_google_classes_parse_our_messages(name: str, variant: int) -> None:
    sent = ours(name)()
    fill(sent, ours(name).DESCRIPTOR, variant)
    assert plain(sent) == transferred(sent, theirs(name))


@pytest.mark.parametrize("variant", range(3))
@pytest.mark.parametrize("name", SHARED)
def test_our_classes_parse_google_messages(name: str, variant: int) -> None:
    sent = theirs(name)()
    fill(sent, ours(name).DESCRIPTOR, variant)
    assert plain(sent) == transferred(sent, ours(name))


@pytest.mark.parametrize("name", SHARED)
def test_fields_have_google_names_types_and_presence(name: str) -> None:
    pairs = [(ours(name).DESCRIPTOR, theirs(name).DESCRIPTOR)]
    while pairs:
        our_type, google_type = pairs.pop()
        for field in our_type.fields:
            other = google_type.fields_by_number[field.number]
            assert field.name == other.name.rstrip("_"), field.full_name
            assert field.type == other.type, field.full_name
            assert field.is_repeated == other.is_repeated, field.full_name
            assert field.has_presence == other.has_presence, field.full_name
            inner, theirs_inner = field.message_type, other.message_type
            if inner is None or theirs_inner is None or is_map(field):
                continue
            if inner.file.name == pb.DESCRIPTOR.name:
                pairs.append((inner, theirs_inner))


def test_an_absent_precondition_differs_from_zero() -> None:
    absent = types.GetObjectRequest.pb()(bucket="b")
    zero = types.GetObjectRequest.pb()(bucket="b", if_generation_match=0)
    assert not pb.GetObjectRequest.FromString(absent.SerializeToString()).HasField(
        "if_generation_match"
    )
    assert pb.GetObjectRequest.FromString(zero.SerializeToString()).HasField("if_generation_match")
