"""Messages generated from protos/storage.proto; `scripts/compile-protos` makes them."""
