"""Tests of the pure parts of the benchmarks: statistics, plans and tables."""
