"""What the app does, one file per story."""
