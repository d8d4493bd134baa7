"""Types for all packages: values, the object table, exceptions, limits of retries."""
