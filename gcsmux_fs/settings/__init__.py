"""The settings of a mount: values, defaults with reasons, and parsers of what users write."""
