"""The commands: arguments become settings, failures become one sentence and an exit code."""
