"""Sizes, limits, storage positions and enumerations of the protocol."""

from enum import IntEnum
from typing import Final

PPM: Final = 1_000_000
"""A score of 1.0. Scores and bounds are integers 0..PPM, higher is better."""

BPS: Final = 10_000
"""100 % in basis points."""


class Outcome(IntEnum):
    """What an evaluation ended with."""

    SCORED = 1
    MODEL_FAILED = 2


class Assurance(IntEnum):
    """What vouches for an enclave; a benchmark names the least it accepts."""

    SIMULATED = 1
    HARDWARE = 2


class TcbStatus(IntEnum):
    """Intel's TCB status words, numbered. A benchmark's `tcb_allowed` is the bitmap of `1 << status`."""

    UP_TO_DATE = 0
    SW_HARDENING_NEEDED = 1
    CONFIGURATION_NEEDED = 2
    CONFIGURATION_AND_SW_HARDENING_NEEDED = 3
    OUT_OF_DATE = 4
    OUT_OF_DATE_CONFIGURATION_NEEDED = 5
    REVOKED = 6


class BenchmarkState(IntEnum):
    """Low 8 bits of `Market.benchmarks[id]`."""

    ABSENT = 0
    OPEN = 1
    CLOSED = 2


class SubmissionState(IntEnum):
    """Low 8 bits of `Market.submissions[id]`."""

    ABSENT = 0
    OPEN = 1
    PRICED = 2
    UNPRICED = 3
    FAILED = 4
    RECLAIMED = 5


class EnclaveState(IntEnum):
    """Low 8 bits of `EnclaveRegistry.enclaves[id]`."""

    ABSENT = 0
    REGISTERED = 1
    INVALIDATED = 2


TCB_ALLOWED_STRICT: Final = 1 << TcbStatus.UP_TO_DATE
"""Only platforms that are fully up to date."""

TCB_ALLOWED_ALL: Final = (1 << TcbStatus.REVOKED) - 1
"""Every status but Revoked, which can never be allowed."""

# --- Market storage: position of each mapping (Vyper hashes keccak(slot . key)) -------------------

MARKET_SLOT_BENCHMARKS: Final = 0
MARKET_SLOT_SUBMISSIONS: Final = 1
MARKET_SLOT_RECORDS: Final = 2
MARKET_SLOT_ORDERS: Final = 3
MARKET_SLOT_CREDITS: Final = 4
REGISTRY_SLOT_ENCLAVES: Final = 0

# --- limits the contracts enforce too -------------------------------------------------------------

MAX_CURVE_POINTS: Final = 8
MAX_PRICE: Final = 2**88 - 1
MAX_FEE_WEI: Final = 2**96 - 1
MAX_SUBMISSION_CAP: Final = 2**16 - 1
MAX_TIMESTAMP_S: Final = 2**40 - 1
MAX_RESULT_WINDOW_S: Final = 30 * 24 * 3600
MAX_SUBMISSIONS_CLOSE_S: Final = MAX_TIMESTAMP_S - MAX_RESULT_WINDOW_S
QUORUMS: Final = (1, 3, 5)
MAX_ORDER_ITEMS: Final = 16
MAX_ORDER_DURATION_S: Final = 30 * 24 * 3600
MAX_SUBMISSION_SEALED_BYTES: Final = 1024
MAX_TESTSET_SEALED_BYTES: Final = 4096
MAX_METADATA_BYTES: Final = 1024
MAX_QUOTE_BYTES: Final = 8192
MAX_ATTESTATION_EVIDENCE_BYTES: Final = 16384
ANCHOR_HISTORY_BLOCKS: Final = 8191
"""How far back EIP-2935 answers for a block hash."""

# --- keys and sealing -----------------------------------------------------------------------------

SECRET_BYTES: Final = 32
SALT_BYTES: Final = 32
X25519_KEY_BYTES: Final = 32
SIGNATURE_BYTES: Final = 65
SEALED_SECRET_BYTES: Final = 80
"""A sealed 32-byte secret: 32 bytes encapsulated key, 32 bytes ciphertext, 16 bytes tag."""

# --- blobs, containers, frames --------------------------------------------------------------------

BLOB_PIECE_BYTES: Final = 2**20
MAX_BLOB_BYTES: Final = 2**32
"""Largest blob (4 GiB). Local limit against denial of service."""
CHUNK_BYTES: Final = 2**20
"""Plaintext bytes per container chunk; the only size that version 1 knows."""
MAX_FRAME_BYTES: Final = 2**32
"""Largest frame on the enclave's pipe (4 GiB)."""

# --- decoders: local limits against denial of service ---------------------------------------------

MAX_RLP_DEPTH: Final = 8
MAX_RLP_ITEMS: Final = 65_536
"""Most items (strings and lists, all levels) in one decoded RLP value."""
MAX_HEADER_BYTES: Final = 8192
MAX_TRUST_EVIDENCE_BYTES: Final = 2**21
MAX_TRIE_NODE_BYTES: Final = 1024
"""A branch node with 16 hashes has 532 bytes."""
MAX_PROOF_NODES: Final = 66
"""A path of 64 nibbles visits at most 65 nodes."""
MAX_STORAGE_PROOFS: Final = 16
MAX_CONFIG_CHECKPOINT_BYTES: Final = 2**16
MAX_SEALED_IDENTITY_BYTES: Final = 2**16
MAX_SPEC_BYTES: Final = 2**16
MAX_EVIDENCE_BYTES: Final = 2**16
MAX_TEXT_BYTES: Final = 4096
MAX_COLLATERAL_BYTES: Final = 2**20
