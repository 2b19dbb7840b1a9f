"""Microsoft Graph: OneDrive and its change notifications."""
