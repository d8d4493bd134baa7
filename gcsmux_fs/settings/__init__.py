"""What a user may say: settings with reasoned defaults, units, the bucket and the endpoint."""
