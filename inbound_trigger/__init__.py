"""How Azure starts the import from OneDrive into F&O, and all work: the webhook, the queue function, the timer."""
