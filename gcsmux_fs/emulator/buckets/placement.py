"""The placement of a bucket: location, storage class, namespace, and what it keeps.

If CreateBucket has created a bucket, its placement is kept in a file in the bucket's metadata
folder. All other buckets have the placement that the option `--location-type` sets.
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

__all__ = [
    "LOCATION_TYPES",
    "REGION",
    "ZONE",
    "Placement",
    "load_placement",
    "requested_placement",
    "save_placement",
]

REGION = "region"
# In the service, all buckets of this location type are hierarchical.
ZONE = "zone"
# The values of the option `--location-type`. CreateBucket also accepts other location types.
LOCATION_TYPES = (REGION, ZONE)

_DEFAULT_LOCATIONS = {REGION: "US-CENTRAL1", ZONE: "US-CENTRAL1-A"}
_STANDARD_CLASS = "STANDARD"
_RAPID_CLASS = "RAPID"
_MULTI_REGIONS = {"US", "EU", "ASIA"}
# Pattern of the names of predefined pairs of regions, such as NAM4.
_DUAL_REGION = re.compile(r"(?:NAM|EUR|ASIA)\d+")
_REGION = re.compile(r"[A-Z]+(?:-[A-Z]+)+\d+")
_ZONE = re.compile(r"[A-Z]+(?:-[A-Z]+)+\d+-[A-Z]")
_FILE_NAME = "placement"


@dataclass(frozen=True, slots=True)
class Placement:
    """The placement of a bucket.

    - `data_locations`: zones or regions in the CreateBucket request.
    - `versioning`: whether old generations become noncurrent.
    - `soft_delete_seconds`: how long generations that would be lost are kept; 0: not at all.
    """

    location: str
    location_type: str
    hierarchical: bool
    storage_class: str
    data_locations: tuple[str, ...] = ()
    versioning: bool = False
    soft_delete_seconds: float = 0.0

    @classmethod
    def default(
        cls, location_type: str, *, versioning: bool = False, soft_delete_seconds: float = 0.0
    ) -> Placement:
        """Return the placement of buckets that were not created by CreateBucket."""
        zonal = location_type == ZONE
        return cls(
            _DEFAULT_LOCATIONS[location_type],
            location_type,
            zonal,
            _RAPID_CLASS if zonal else _STANDARD_CLASS,
            versioning=versioning,
            soft_delete_seconds=soft_delete_seconds,
        )


def requested_placement(resource: pb.Bucket, default: Placement) -> Placement:
    """Return the placement that a CreateBucket request asks for.

    A request can name a zone in two ways: as the location, or as the only data location in a
    region. The service accepts only the second way. Without a location, the bucket gets the
    location of `default`.

    Raises:
        RpcError: there is no such location (INVALID_ARGUMENT).
    """
    location = resource.location.upper() or default.location
    data_locations = tuple(
        data_location.upper() for data_location in resource.custom_placement_config.data_locations
    )
    location_type = _type_of(location) if resource.location else default.location_type
    for data_location in data_locations:
        if not (_REGION.fullmatch(data_location) or _ZONE.fullmatch(data_location)):
            raise invalid(f"{data_location!r} is neither a region nor a zone.")
    if len(data_locations) == 1 and _ZONE.fullmatch(data_locations[0]):
        location_type = ZONE
    elif len(data_locations) == 2:
        location_type = "dual-region"
    elif data_locations:
        raise invalid("The data locations must be one zone or two regions.")
    zonal = location_type == ZONE
    return Placement(
        location,
        location_type,
        zonal or resource.hierarchical_namespace.enabled,
        resource.storage_class or (_RAPID_CLASS if zonal else _STANDARD_CLASS),
        data_locations,
        resource.versioning.enabled if resource.HasField("versioning") else default.versioning,
        _soft_delete_seconds(resource, default),
    )


def _soft_delete_seconds(resource: pb.Bucket, default: Placement) -> float:
    if not resource.HasField("soft_delete_policy"):
        return default.soft_delete_seconds
    return resource.soft_delete_policy.retention_duration.ToMilliseconds() / 1000


def _type_of(location: str) -> str:
    if location in _MULTI_REGIONS:
        return "multi-region"
    for pattern, location_type in ((_DUAL_REGION, "dual-region"), (_REGION, REGION), (_ZONE, ZONE)):
        if pattern.fullmatch(location):
            return location_type
    raise invalid(f"{location!r} is not a location for buckets.")


def load_placement(folder: Path) -> Placement | None:
    """Return the placement in a bucket's metadata folder; None if there is no valid placement."""
    with suppress(OSError, ValueError, TypeError, KeyError):
        fields = json.loads((folder / _FILE_NAME).read_text())
        fields["data_locations"] = tuple(fields["data_locations"])
        return Placement(**fields)
    return None


def save_placement(folder: Path, placement: Placement) -> None:
    """Write the placement of a bucket to its metadata folder."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / _FILE_NAME).write_text(json.dumps(asdict(placement)))
