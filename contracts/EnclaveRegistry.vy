# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title EnclaveRegistry: which enclaves may sign, vouched for by which verifier
@license Apache-2.0
@notice Anyone registers an enclave with its quote; afterwards a result needs one ecrecover. The caller
        need not be the enclave: the quote's report data names the signing address, the sealing key and
        the configuration. No owner, no upgrade.

        An enclave's id contains the verifier, so this contract trusts no verifier: a benchmark names
        the one that it trusts.
"""

from interfaces import IEnclaveRegistry
from interfaces import IQuoteVerifier

implements: IEnclaveRegistry


event Registered:
    enclave_id: indexed(bytes32)
    signer: indexed(address)
    verifier: indexed(address)
    sealing_key: bytes32
    measurement: bytes32
    config_digest: bytes32
    assurance: uint256
    tcb_status: uint256
    expiry: uint256
    platform: bytes32
    quote_digest: bytes32


event Invalidated:
    enclave_id: indexed(bytes32)


REGISTERED: constant(uint256) = 1
INVALIDATED: constant(uint256) = 2

HARDWARE: constant(uint256) = 2
REVOKED: constant(uint256) = 6

REPORT_DATA_TAG: constant(bytes32) = keccak256("goldengrain/report-data/v1")
MASK_8: constant(uint256) = 2**8 - 1
MASK_40: constant(uint256) = 2**40 - 1
MASK_192: constant(uint256) = 2**192 - 1


# slot 0: state (8) | expiry << 8 (40) | tcb_status << 48 (8) | assurance << 56 (8) | platform << 64 (192)
enclaves: public(HashMap[bytes32, uint256])


@external
@nonreentrant
def register(
    verifier: address,
    quote: Bytes[8192],
    evidence: Bytes[16384],
    signer: address,
    sealing_key: bytes32,
    config_digest: bytes32,
) -> bytes32:
    """
    @notice Registers the enclave that `quote` attests, or prolongs its registration.
    @dev A prolongation must end later than what it replaces: quotes and evidence are public, and
         without this rule anyone could put back an older, shorter or more favourable verdict.
    """
    assert signer != empty(address), "registry: no signer"
    verdict: IQuoteVerifier.QuoteVerdict = extcall IQuoteVerifier(verifier).verify_quote(quote, evidence)

    assert verdict.report_data_high == keccak256(
        abi_encode(REPORT_DATA_TAG, signer, sealing_key, config_digest)
    ), "registry: report data names other keys"
    assert verdict.report_data_low == empty(bytes32), "registry: report data has a tail"
    assert 1 <= verdict.assurance and verdict.assurance <= HARDWARE, "registry: bad assurance"
    assert verdict.tcb_status <= REVOKED, "registry: bad tcb status"
    assert block.timestamp < verdict.expiry, "registry: verdict expired"
    assert verdict.expiry <= MASK_40, "registry: bad expiry"

    enclave_id: bytes32 = self._enclave_id(verifier, signer, verdict.measurement, config_digest)
    known: uint256 = self.enclaves[enclave_id]
    assert known & MASK_8 != INVALIDATED, "registry: enclave invalidated"
    assert (known >> 8) & MASK_40 < verdict.expiry, "registry: not later than registered"

    self.enclaves[enclave_id] = (
        REGISTERED
        | (verdict.expiry << 8)
        | (verdict.tcb_status << 48)
        | (verdict.assurance << 56)
        | ((convert(verdict.platform, uint256) & MASK_192) << 64)
    )
    log Registered(
        enclave_id=enclave_id,
        signer=signer,
        verifier=verifier,
        sealing_key=sealing_key,
        measurement=verdict.measurement,
        config_digest=config_digest,
        assurance=verdict.assurance,
        tcb_status=verdict.tcb_status,
        expiry=verdict.expiry,
        platform=verdict.platform,
        quote_digest=keccak256(quote),
    )
    return enclave_id


@external
@nonreentrant
def invalidate(
    verifier: address,
    signer: address,
    measurement: bytes32,
    config_digest: bytes32,
    platform: bytes32,
    evidence: Bytes[16384],
):
    """
    @notice Ends a registration for good: its verifier says that the platform it ran on is revoked.
    """
    enclave_id: bytes32 = self._enclave_id(verifier, signer, measurement, config_digest)
    known: uint256 = self.enclaves[enclave_id]
    assert known & MASK_8 == REGISTERED, "registry: enclave not registered"
    assert known >> 64 == convert(platform, uint256) & MASK_192, "registry: wrong platform"
    assert extcall IQuoteVerifier(verifier).platform_revoked(platform, evidence), "registry: platform not revoked"
    self.enclaves[enclave_id] = (known & ~MASK_8) | INVALIDATED
    log Invalidated(enclave_id=enclave_id)


@internal
@pure
def _enclave_id(verifier: address, signer: address, measurement: bytes32, config_digest: bytes32) -> bytes32:
    return keccak256(abi_encode(verifier, signer, measurement, config_digest))
