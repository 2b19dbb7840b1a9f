"""Whether the app works: its checks, and what its processes record of themselves."""
