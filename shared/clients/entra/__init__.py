"""Tokens from Entra ID: for the app's own identity and for a signed-in user."""
