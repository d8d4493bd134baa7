"""What a mounted bucket does, without pyfuse3 and without gRPC."""
