"""Moves files between OneDrive and Dynamics 365 Finance & Operations: flows, rules and clients."""
