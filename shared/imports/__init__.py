"""OneDrive to F&O: the steps of an import, and what it needs."""
