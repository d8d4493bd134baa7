"""Object stores that show an earlier or a fixed state of a bucket."""
