"""How Azure starts exports from F&O to OneDrive."""
