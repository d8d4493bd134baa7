"""Where a bucket is, and what follows from that: its location type, class and namespace.

A bucket that CreateBucket has made keeps its placement in a file of the side folder; every other
one has that of the emulator, which the command's `--location-type` chooses.
"""

from __future__ import annotations

import json
import re
from contextlib import suppress
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from gcsmux_fs.emulator.rpc_error import invalid

if TYPE_CHECKING:
    from pathlib import Path

    from gcsmux_fs.storage.pb import storage_pb2 as pb

__all__ = ["LOCATION_TYPES", "REGION", "ZONE", "Placement", "load", "placement_of", "save"]

REGION = "region"
# Buckets of this location type are hierarchical: the service has no flat ones there.
ZONE = "zone"
# What the command offers; CreateBucket makes buckets of the others too.
LOCATION_TYPES = (REGION, ZONE)

_DEFAULT_LOCATIONS = {REGION: "US-CENTRAL1", ZONE: "US-CENTRAL1-A"}
_STANDARD_CLASS = "STANDARD"
_RAPID_CLASS = "RAPID"
_MULTI_REGIONS = {"US", "EU", "ASIA"}
# The service's names for pairs of regions, such as NAM4.
_DUAL_REGION = re.compile(r"(?:NAM|EUR|ASIA)\d+")
_REGION = re.compile(r"[A-Z]+(?:-[A-Z]+)+\d+")
_ZONE = re.compile(r"[A-Z]+(?:-[A-Z]+)+\d+-[A-Z]")
_FILE_NAME = "placement"


@dataclass(frozen=True, slots=True)
class Placement:
    """What a bucket says of its place; `data_locations` are the zones or regions asked for."""

    location: str
    location_type: str
    hierarchical: bool
    storage_class: str
    data_locations: tuple[str, ...] = ()

    @classmethod
    def default(cls, location_type: str) -> Placement:
        """Return the placement of buckets of which nothing else is known."""
        zonal = location_type == ZONE
        return cls(
            _DEFAULT_LOCATIONS[location_type],
            location_type,
            zonal,
            _RAPID_CLASS if zonal else _STANDARD_CLASS,
        )


def placement_of(wanted: pb.Bucket, default: Placement) -> Placement:
    """Return the placement of a bucket to be made.

    A zone is named as the location or, as the service has it, as the only data location of a
    region. Without a location the bucket is where the emulator's others are.

    Raises:
        RpcError: there is no such location (INVALID_ARGUMENT).
    """
    location = wanted.location.upper() or default.location
    places = tuple(place.upper() for place in wanted.custom_placement_config.data_locations)
    location_type = _type_of(location) if wanted.location else default.location_type
    for place in places:
        if not (_REGION.fullmatch(place) or _ZONE.fullmatch(place)):
            raise invalid(f"Not a region or a zone: {place!r}")
    if len(places) == 1 and _ZONE.fullmatch(places[0]):
        location_type = ZONE
    elif len(places) == 2:
        location_type = "dual-region"
    elif places:
        raise invalid("The data locations must be one zone or two regions")
    zonal = location_type == ZONE
    return Placement(
        location,
        location_type,
        zonal or wanted.hierarchical_namespace.enabled,
        wanted.storage_class or (_RAPID_CLASS if zonal else _STANDARD_CLASS),
        places,
    )


def _type_of(location: str) -> str:
    if location in _MULTI_REGIONS:
        return "multi-region"
    for pattern, location_type in ((_DUAL_REGION, "dual-region"), (_REGION, REGION), (_ZONE, ZONE)):
        if pattern.fullmatch(location):
            return location_type
    raise invalid(f"Not a location of buckets: {location!r}")


def load(folder: Path) -> Placement | None:
    """Return the placement kept in a bucket's side folder, if there is one."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fields = json.loads((folder / _FILE_NAME).read_text())
        fields["data_locations"] = tuple(fields["data_locations"])
        return Placement(**fields)
    return None


def save(folder: Path, placement: Placement) -> None:
    """Keep a placement in a bucket's side folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE_NAME).write_text(json.dumps(asdict(placement)))
