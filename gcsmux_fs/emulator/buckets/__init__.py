"""What the emulator stores: buckets, objects, folders, generations."""
