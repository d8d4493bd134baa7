"""Tests of the benchmarks' pure parts: a wrong table is worse than none."""
