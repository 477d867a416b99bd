"""The host: runs an enclave, carries bytes between it, the chain and storage, and answers offer requests."""
