"""Prices of requests and of data transfer, for an estimate of what a mount costs; sans-IO.

Source: https://cloud.google.com/storage/pricing, read on 2026-09-20. The prices are in US dollars,
for Standard storage in a single region with a flat namespace. Other storage classes, hierarchical
namespaces and other places cost more (class A up to tenfold), so every cost is an estimate.
"""

from __future__ import annotations

__all__ = [
    "PRICES_DATE",
    "USD_PER_CLASS_A",
    "USD_PER_CLASS_B",
    "USD_PER_GIB_INTERNET",
    "request_cost_usd",
    "transfer_cost_usd",
]

PRICES_DATE = "2026-09-20"
"""The day on which the prices were read."""

USD_PER_CLASS_A = 0.005 / 1000
"""Price of one listing."""

USD_PER_CLASS_B = 0.0004 / 1000
"""Price of one read, or of one request for metadata."""

USD_PER_GIB_INTERNET = 0.12
"""Price of 1 GiB sent to the internet (the first 10 TiB of a month). Data that stays in the region
of the bucket is free."""

_GIB = 1 << 30


def request_cost_usd(class_a: float, class_b: float) -> float:
    """Return the estimated price of so many requests of each class."""
    return class_a * USD_PER_CLASS_A + class_b * USD_PER_CLASS_B


def transfer_cost_usd(size: float) -> float:
    """Return the estimated price of `size` bytes for a machine outside of Google Cloud."""
    return size / _GIB * USD_PER_GIB_INTERNET
