"""Traces of requests with OpenTelemetry: a READ, its ranges, and the streams of the ranges."""
