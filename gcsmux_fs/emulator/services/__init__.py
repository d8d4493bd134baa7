"""The gRPC services of the emulator: the methods of Storage, StorageControl and Operations."""
