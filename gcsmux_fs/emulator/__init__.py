"""A local server that speaks the service's gRPC: buckets are folders, objects are files."""
