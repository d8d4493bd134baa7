"""Which fault happens when, and how it is acted out."""
