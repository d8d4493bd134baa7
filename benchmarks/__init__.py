"""`make bench` and `make bench-quick`: the mount beside its limits and its peers, in one run."""
