"""Google Cloud Storage on the wire. Only this room and the emulator import gRPC and protobuf."""
