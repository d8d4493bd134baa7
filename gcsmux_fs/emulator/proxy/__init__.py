"""The TCP proxy in front of the emulator, where the faults below gRPC happen."""
