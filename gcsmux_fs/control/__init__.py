"""The control socket of a mount: its protocol, its server, and its synchronous client."""
