"""Untrusted market side of Golden Grain: SDK, CLI, host, storage and chain access."""
