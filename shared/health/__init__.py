"""Whether the app is well: the checks, and the doctor who says them in words."""
