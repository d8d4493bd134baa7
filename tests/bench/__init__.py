"""Tests of the benchmarks: their statistics, plans and tables, and how they run gcsfuse."""
