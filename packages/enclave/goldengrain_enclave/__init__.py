"""Trusted enclave of Golden Grain: every byte of this package is measured."""
