"""Chain state proven from bytes that an untrusted host brings."""

from goldengrain_protocol.proofs.account import Account, mapping_slot, verify_account, verify_storage
from goldengrain_protocol.proofs.chain_proof import ChainProof
from goldengrain_protocol.proofs.dev_pinned import DevPinned
from goldengrain_protocol.proofs.header import Header, decode_header
from goldengrain_protocol.proofs.market_state import MarketView, verify_market_state
from goldengrain_protocol.proofs.trie import EMPTY_TRIE_ROOT, verify_trie_proof
from goldengrain_protocol.proofs.trust import ChainTrust, TrustedBlock, chain_trust

__all__ = [
    "EMPTY_TRIE_ROOT",
    "Account",
    "ChainProof",
    "ChainTrust",
    "DevPinned",
    "Header",
    "MarketView",
    "TrustedBlock",
    "chain_trust",
    "decode_header",
    "mapping_slot",
    "verify_account",
    "verify_market_state",
    "verify_storage",
    "verify_trie_proof",
]
