"""The gRPC methods that the emulator serves."""
