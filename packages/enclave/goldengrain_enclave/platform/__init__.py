"""TEE platforms: where the enclave's quote, measurement and sealing key come from."""
