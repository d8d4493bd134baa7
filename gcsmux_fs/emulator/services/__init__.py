"""The gRPC services: the methods of Storage, StorageControl and Operations."""
