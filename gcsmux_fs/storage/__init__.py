"""Google Cloud Storage on the wire: the only room that knows gRPC and protobuf."""
