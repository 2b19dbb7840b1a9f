"""Whom the app talks to: one module per service, one verb per call."""
