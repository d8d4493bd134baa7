"""What a mounted bucket does: open files, directories, links and prefetch. No pyfuse3, no gRPC."""
