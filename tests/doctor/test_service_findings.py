"""Tests of the judgements about the answers of the service."""

from __future__ import annotations

import pytest

from gcsmux_fs.doctor.checklist import CheckResult, Finding
from gcsmux_fs.doctor.service_findings import (
    RateSample,
    Target,
    billing_finding,
    bucket_finding,
    get_finding,
    list_finding,
    rate_finding,
    round_trip_finding,
    service_finding,
    streams_finding,
)
from gcsmux_fs.model.errors import (
    DataCorruption,
    InvalidRequest,
    NotFound,
    PermissionDenied,
    StatusCode,
    StorageError,
    Unauthenticated,
    Unavailable,
    Unsupported,
)
from gcsmux_fs.model.values import BucketInfo, ListingPage, ObjectInfo

TARGET = Target("my-bucket", "", "storage.googleapis.com:443", False, "")
PAID = Target("my-bucket", "logs/", "storage.googleapis.com:443", False, "my-project")
ZONAL = BucketInfo("my-bucket", "zone", True, location="US-CENTRAL1-A")
HIDDEN = PermissionDenied("no")
REQUESTER_PAYS = InvalidRequest("Bucket is a requester pays bucket but no user project provided.")
MIB = 1 << 20


@pytest.mark.parametrize(
    ("finding", "result", "detail"),
    [
        (
            service_finding(ZONAL, 0.0203, TARGET),
            CheckResult.OK,
            "storage.googleapis.com:443 answers calls after 20.3 ms",
        ),
        (
            service_finding(HIDDEN, 0.02, TARGET),
            CheckResult.OK,
            "storage.googleapis.com:443 answers calls after 20.0 ms",
        ),
        (
            service_finding(Unauthenticated("expired"), 0.02, TARGET),
            CheckResult.FAILURE,
            "the service refuses the credentials (expired)",
        ),
        (
            service_finding(Unavailable("x", code=StatusCode.DEADLINE_EXCEEDED), 5, TARGET),
            CheckResult.FAILURE,
            "storage.googleapis.com:443 accepts connections and does not answer calls",
        ),
        (
            service_finding(StorageError("HTTP status 404", code=StatusCode.UNKNOWN), 0, TARGET),
            CheckResult.FAILURE,
            "storage.googleapis.com:443 does not speak gRPC (HTTP status 404)",
        ),
        (
            billing_finding(REQUESTER_PAYS, TARGET),
            CheckResult.FAILURE,
            "gs://my-bucket is a requester-pays bucket, and no project is named to pay",
        ),
        (
            billing_finding(
                PermissionDenied("Caller does not have serviceusage.services.use"), PAID
            ),
            CheckResult.FAILURE,
            "these credentials may not bill requests to my-project",
        ),
        (billing_finding(ZONAL, PAID), CheckResult.OK, "the project my-project pays for requests"),
        (
            bucket_finding(ZONAL, TARGET),
            CheckResult.OK,
            "gs://my-bucket exists in US-CENTRAL1-A, zonal, hierarchical",
        ),
        (
            bucket_finding(NotFound("x"), TARGET),
            CheckResult.FAILURE,
            "there is no bucket gs://my-bucket",
        ),
        (
            list_finding(ListingPage((), (), ""), 0.1, PAID),
            CheckResult.WARNING,
            "gs://my-bucket/logs/ contains no objects",
        ),
        (
            list_finding(ListingPage((ObjectInfo("a", 1, 1, 0),), (), "more"), 0.1, PAID),
            CheckResult.OK,
            "1 or more objects, first page after 100 ms",
        ),
        (
            get_finding(False, "", TARGET),
            CheckResult.FAILURE,
            "these credentials may not read objects in gs://my-bucket",
        ),
        (get_finding(True, "", TARGET), CheckResult.OK, "these credentials may read objects"),
        (
            get_finding(ObjectInfo("a", 1, 3 * MIB, 0), "a", TARGET),
            CheckResult.OK,
            "these credentials may read 'a' (3.00 MiB)",
        ),
        (
            streams_finding(0.041, "", "a"),
            CheckResult.OK,
            "BidiReadObject is available, first byte after 41.0 ms",
        ),
        (
            streams_finding(DataCorruption("wrong checksum"), "", "a"),
            CheckResult.FAILURE,
            "the bytes of 'a' arrive damaged (wrong checksum)",
        ),
        (
            round_trip_finding([0.02, 0.3, 0.021, 0.019, 0.5], "a"),
            CheckResult.OK,
            "one byte takes 21.0 ms (median of 5)",
        ),
        (
            rate_finding(RateSample(64 * MIB, 0.5, True), "a"),
            CheckResult.OK,
            "128 MiB/s on one stream (64.0 MiB of 'a' in 500 ms)",
        ),
        (
            rate_finding(RateSample(5 * MIB, 5.0, False), "a"),
            CheckResult.WARNING,
            "1.00 MiB/s on one stream (5.00 MiB of 'a' in 5.00 s)",
        ),
        (
            rate_finding(RateSample(100, 0.01, True), "a"),
            CheckResult.SKIPPED,
            "'a' has only 100 B: name an object of at least 64 MiB with --object",
        ),
    ],
)
def test_the_judgement(finding: Finding, result: CheckResult, detail: str) -> None:
    assert (finding.result, finding.detail) == (result, detail)
    assert bool(finding.remedy) == (result in (CheckResult.WARNING, CheckResult.FAILURE))


@pytest.mark.parametrize(
    ("finding", "result", "part"),
    [
        (bucket_finding(HIDDEN, TARGET), CheckResult.WARNING, "Storage Object Viewer"),
        (bucket_finding(Unsupported("x"), TARGET), CheckResult.WARNING, "emulator"),
        (list_finding(HIDDEN, 0.1, TARGET), CheckResult.WARNING, "Storage Object Viewer"),
        (get_finding(HIDDEN, "a", TARGET), CheckResult.FAILURE, "Storage Object Viewer"),
        (get_finding(NotFound("x"), "a", TARGET), CheckResult.FAILURE, "--object"),
        (billing_finding(REQUESTER_PAYS, TARGET), CheckResult.FAILURE, "--billing-project"),
        (streams_finding(0.1, "UNIMPLEMENTED: no", "a"), CheckResult.WARNING, "bypass proxies"),
        (round_trip_finding([0.2], "a"), CheckResult.WARNING, "in the region of this machine"),
    ],
)
def test_the_remedy(finding: Finding, result: CheckResult, part: str) -> None:
    assert finding.result is result
    assert part in finding.remedy
