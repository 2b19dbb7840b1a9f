"""How Azure wakes the app for OneDrive -> F&O."""
