"""Tests that a mount names the machine, the kernel, the bucket or the service as its reason."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from gcsmux_fs.fuse.negotiation import MAX_BACKGROUND
from gcsmux_fs.model.values import BucketInfo
from gcsmux_fs.mount_adaptations import (
    background_reads,
    block_memory,
    bucket_kind,
    changes_of_bucket,
    connection_limit,
    control_directory,
    credentials,
    disk_cache,
    dropped_names,
    kept_names,
    kernel_window,
    library_variables,
    log_destination,
    lookup_requests,
    network_path,
    read_method,
    stream_timeouts,
    tracing,
    watchdog,
)
from gcsmux_fs.settings.cache_options import CacheOptions
from gcsmux_fs.timeouts import stream_policy
from tests.support.sizes import MIB

if TYPE_CHECKING:
    from gcsmux_fs.settings.adaptations import Adaptation


@pytest.mark.parametrize(
    ("adaptation", "value", "reason"),
    [
        (bucket_kind(BucketInfo("b", "zone", hierarchical=True)), "zone, hierarchical", "folders"),
        (bucket_kind(BucketInfo("b", "")), "unknown location, flat", "directory exists if"),
        (credentials("", anonymous=True, named=False), "none", "emulator"),
        (credentials("user a@b", anonymous=False, named=False), "user a@b", "Application Default"),
        (credentials("the key x", anonymous=False, named=True), "the key x", "A setting names"),
        (network_path("off", 0), "the endpoint", "off"),
        (network_path("try", 1), "DirectPath", "try, and available"),
        (network_path("try", 0), "front ends", "no connection"),
        (lookup_requests(listable=False, objects_grow=False), "two requests", "not permit to list"),
        (lookup_requests(listable=True, objects_grow=True), "two requests", "appended to"),
        (lookup_requests(listable=True, objects_grow=False), "one request", "listing of one name"),
        (kept_names(kept=False, may_be_old=False, is_offline=False), "memory only", "is off"),
        (kept_names(kept=True, may_be_old=False, is_offline=False), "at most", "offline is off"),
        (kept_names(kept=True, may_be_old=True, is_offline=False), "at most", "While it cannot"),
        (kept_names(kept=True, may_be_old=True, is_offline=True), "older", "cannot be reached"),
        (read_method(uses_read_object=True), "ReadObject call", "does not offer BidiReadObject"),
        (read_method(uses_read_object=False), "BidiReadObject stream", "has not refused"),
        (connection_limit(5, 7, 50), "up to 5 for streams", "may open 50 files"),
        (connection_limit(7, 7, 1024), "up to 7 for streams", "enough for all requests"),
        (kernel_window(None, "writing X failed: Read-only"), "128KiB", "writing X failed"),
        (kernel_window(MIB, "writing X failed: Read-only"), "128KiB", "writing X failed"),
        (kernel_window(None, ""), "128KiB, 1MiB, 16MiB, for each file", "may change"),
        (kernel_window(2 * MIB, ""), "2MiB", "sets it for all files"),
        (kernel_window(0, ""), "128KiB", "kernel_read_ahead is 0"),
        (background_reads(is_privileged=False, user_limit=30), "up to 30 ", "max_user_bgreq"),
        (background_reads(is_privileged=False, user_limit=10), "above 10", "max_user_bgreq"),
        (background_reads(is_privileged=True, user_limit=30), f"{MAX_BACKGROUND}", "accepts"),
        (background_reads(is_privileged=False, user_limit=None), f"{MAX_BACKGROUND}", "accepts"),
        (dropped_names(single=False, every=False), "none", "6.16"),
        (dropped_names(single=False, every=True), "all names at once", "6.18"),
        (changes_of_bucket("", "", "", 0.0), "none", "not set"),
        (changes_of_bucket("projects/p/subscriptions/s", "healthy", "", 600.0), "600 s", "/s."),
        (changes_of_bucket("s", "lost", "it does not exist", 1.0), "lost; ", "It does not exist."),
        (log_destination("nowhere", "auto"), "nowhere", "neither a journal nor syslog"),
        (log_destination("journal", "auto"), "journal", "this machine offers"),
        (log_destination("/var/log/x", "auto"), "/var/log/x", "A setting"),
        (
            library_variables({"https_proxy": "http://u:s3cret@h"}),
            "https_proxy",
            "gRPC",
        ),
        (library_variables({"GRPC_VERBOSITY": "ERROR", "NO_PROXY": ""}), "none", "No such"),
        (control_directory(Path("/run/gcsmux"), {}, user=0), "/run/gcsmux", "Root"),
        (
            control_directory(Path("/r/x"), {"RUNTIME_DIRECTORY": "/r/x:/y"}, user=7),
            "/r",
            "systemd",
        ),
        (control_directory(Path("/x/gcsmux"), {"XDG_RUNTIME_DIR": "/x"}, user=7), "/x", "is set"),
        (control_directory(Path("/tmp/gcsmux-7"), {}, user=7), "/tmp", "is not set"),
        (tracing(["otlp"], on=True), "to otlp", "ask for it"),
        (tracing(["otlp"], on=False), "off", "could not be loaded"),
        (tracing([], on=False), "off", "No variable"),
        (watchdog(None), "none", "no WatchdogSec="),
        (watchdog(60.0), "60s", "of the unit"),
        (block_memory(256 * MIB, 0), "224MiB of 256MiB", "32MiB are reserved"),
        (block_memory(256 * MIB, 32 * MIB), "192MiB of 256MiB", "32MiB for writes to the disk"),
        (disk_cache(None, ""), "none", "cache_dir is not set"),
        (disk_cache(CacheOptions(Path("/c")), ""), "in /c", "shared with the mounts of this user"),
        (disk_cache(CacheOptions(Path("/c"), group=7), ""), "in /c", "the group 7"),
        (
            disk_cache(CacheOptions(Path("/c")), "the disk is full."),
            "off, until",
            "The disk is full",
        ),
        (stream_timeouts(stream_policy(10.0), 10.0), "5s for the first", "A read has 10s"),
    ],
)
def test_an_adaptation_shows_the_choice_and_its_reason(
    adaptation: Adaptation, value: str, reason: str
) -> None:
    assert value in adaptation.value
    assert reason in adaptation.reason
    assert adaptation.reason.endswith(".")
    assert "s3cret" not in f"{adaptation}"
