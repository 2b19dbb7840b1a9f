"""Finds new files: scans of the Input folders, and the notifications that ask for them."""
