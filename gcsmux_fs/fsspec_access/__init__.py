"""The fsspec file system `gcsmux://bucket/path`: the reader of the mount, without a mount.

fsspec finds the class by the entry point `fsspec.specs` of the package. The import of this package
loads neither gRPC nor trio; the first request does.
"""
