"""Shows the state of a mount to other programs: metrics over HTTP, health checks and traces."""
