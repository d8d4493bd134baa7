"""The settings of a mount: values, defaults with reasons, and parsers for what users write."""
