"""Blobs by content digest."""
