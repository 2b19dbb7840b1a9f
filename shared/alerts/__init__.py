"""Tells people about problems: alerts, their channels, their delivery."""
