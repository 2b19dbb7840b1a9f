"""Tells people about problems: alerts, the outbox that keeps them, the channels, their delivery."""
