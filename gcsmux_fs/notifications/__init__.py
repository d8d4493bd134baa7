"""Sets up the way of notifications from a bucket to a mount, and takes it back."""
