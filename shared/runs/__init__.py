"""Runs of both directions: what they are, where they are kept, who moves them."""
