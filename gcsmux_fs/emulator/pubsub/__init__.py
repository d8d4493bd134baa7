"""Pub/Sub in the emulator: topics, subscriptions, and notifications of changed objects."""
