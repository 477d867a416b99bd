# pragma version 0.4.3
# pragma evm-version prague
# pragma nonreentrancy off
"""
@title AuditorQuorumVerifier: M of N named auditors say that they verified a quote off chain
@license Apache-2.0
@notice For platforms whose signatures the chain cannot check cheaply. The auditors are fixed at
        deployment, as is the assurance they may vouch for; changing either means a new verifier and new
        benchmarks. Trusts: fewer than `THRESHOLD` auditors lie.
"""

from interfaces import IQuoteVerifier
from modules import signatures

implements: IQuoteVerifier


MAX_AUDITORS: constant(uint256) = 16
HARDWARE: constant(uint256) = 2

DOMAIN_TYPE: constant(bytes32) = keccak256(
    "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
)
QUOTE_VERIFIED_TYPE: constant(bytes32) = keccak256(
    "QuoteVerified(bytes32 quoteDigest,bytes32 measurement,bytes32 reportDataHigh,bytes32 reportDataLow,uint8 tcbStatus,uint64 expiry,bytes32 platform)"
)
PLATFORM_REVOKED_TYPE: constant(bytes32) = keccak256("PlatformRevoked(bytes32 platform)")

DOMAIN_SEPARATOR: public(immutable(bytes32))
AUDITORS: immutable(DynArray[address, MAX_AUDITORS])
THRESHOLD: public(immutable(uint256))
ASSURANCE: public(immutable(uint256))


@deploy
def __init__(auditors: DynArray[address, MAX_AUDITORS], threshold: uint256, assurance: uint256):
    """
    @param auditors Strictly ascending, so that nobody counts twice.
    @param threshold How many of them must sign, at least 1.
    @param assurance What they vouch for: 1 simulated, 2 hardware.
    """
    previous: address = empty(address)
    for auditor: address in auditors:
        assert convert(auditor, uint256) > convert(previous, uint256), "verifier: auditors not ascending"
        previous = auditor
    assert 1 <= threshold and threshold <= len(auditors), "verifier: bad threshold"
    assert 1 <= assurance and assurance <= HARDWARE, "verifier: bad assurance"
    DOMAIN_SEPARATOR = keccak256(
        abi_encode(
            DOMAIN_TYPE, keccak256("GoldenGrain AuditorQuorumVerifier"), keccak256("1"), chain.id, self
        )
    )
    AUDITORS = auditors
    THRESHOLD = threshold
    ASSURANCE = assurance


@external
@view
def auditors() -> DynArray[address, MAX_AUDITORS]:
    return AUDITORS


@external
def verify_quote(quote: Bytes[8192], evidence: Bytes[16384]) -> IQuoteVerifier.QuoteVerdict:
    """
    @param evidence abi_encode(measurement, report_data_high, report_data_low, tcb_status, expiry, platform,
           signatures), signers strictly ascending.
    """
    measurement: bytes32 = empty(bytes32)
    report_data_high: bytes32 = empty(bytes32)
    report_data_low: bytes32 = empty(bytes32)
    tcb_status: uint8 = 0
    expiry: uint64 = 0
    platform: bytes32 = empty(bytes32)
    signed: DynArray[Bytes[65], MAX_AUDITORS] = []
    measurement, report_data_high, report_data_low, tcb_status, expiry, platform, signed = abi_decode(
        evidence, (bytes32, bytes32, bytes32, uint8, uint64, bytes32, DynArray[Bytes[65], MAX_AUDITORS])
    )
    self._verify_quorum(
        keccak256(
            abi_encode(
                QUOTE_VERIFIED_TYPE,
                keccak256(quote),
                measurement,
                report_data_high,
                report_data_low,
                tcb_status,
                expiry,
                platform,
            )
        ),
        signed,
    )
    return IQuoteVerifier.QuoteVerdict(
        measurement=measurement,
        report_data_high=report_data_high,
        report_data_low=report_data_low,
        tcb_status=convert(tcb_status, uint256),
        assurance=ASSURANCE,
        expiry=convert(expiry, uint256),
        platform=platform,
    )


@external
def platform_revoked(platform: bytes32, evidence: Bytes[16384]) -> bool:
    """
    @param evidence abi_encode(signatures), signers strictly ascending.
    """
    signed: DynArray[Bytes[65], MAX_AUDITORS] = abi_decode(evidence, DynArray[Bytes[65], MAX_AUDITORS])
    self._verify_quorum(keccak256(abi_encode(PLATFORM_REVOKED_TYPE, platform)), signed)
    return True


@internal
@view
def _verify_quorum(struct_hash: bytes32, signed: DynArray[Bytes[65], MAX_AUDITORS]):
    """
    @notice Reverts unless at least `THRESHOLD` distinct auditors, and nobody else, signed `struct_hash`.
    """
    assert len(signed) >= THRESHOLD, "verifier: too few signatures"
    digest: bytes32 = keccak256(concat(b"\x19\x01", DOMAIN_SEPARATOR, struct_hash))
    previous: address = empty(address)
    for signature: Bytes[65] in signed:
        assert len(signature) == 65, "verifier: bad signature length"
        signer: address = signatures._recover(
            digest,
            convert(slice(signature, 64, 1), uint256),
            convert(slice(signature, 0, 32), bytes32),
            convert(slice(signature, 32, 32), bytes32),
        )
        assert signer in AUDITORS, "verifier: not an auditor"
        assert convert(signer, uint256) > convert(previous, uint256), "verifier: signers not ascending"
        previous = signer
