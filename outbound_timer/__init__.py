"""How Azure wakes the app for F&O -> OneDrive."""
