"""The Data management package API of Dynamics 365 Finance & Operations."""
