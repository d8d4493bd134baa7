"""The gRPC client of the service. Only this package and the emulator import gRPC and protobuf."""
