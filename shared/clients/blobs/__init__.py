"""Bytes between pre-authenticated URLs and blobs."""
