"""How people look at the app."""
