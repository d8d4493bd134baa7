"""gcsmux-fs: mount a Google Cloud Storage bucket over shared bidirectional gRPC streams."""

__all__ = ["__version__"]

__version__ = "0.1.0"
