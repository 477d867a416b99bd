"""Access to the chain: node, journal, contracts, proofs, development chain."""
