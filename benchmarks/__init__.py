"""`make bench` and `make bench-quick`: the mount compared with its limits and with other tools."""
