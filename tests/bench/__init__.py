"""Tests of the benchmarks: statistics, plans, tables and gcsfuse."""
