"""The file system operations on a bucket. This package imports neither pyfuse3 nor gRPC."""
