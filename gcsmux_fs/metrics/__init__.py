"""What a mount counts and measures, declared once."""
