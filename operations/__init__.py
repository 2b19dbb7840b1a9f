"""How people look at the app and act."""
