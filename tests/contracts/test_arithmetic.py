"""The contract's integers against the protocol's, on any input."""

from collections.abc import Mapping
from typing import Any

import boa
import build_artifacts
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from goldengrain_protocol import messages
from goldengrain_protocol.eip712 import SECP256K1_ORDER, recover_signer
from goldengrain_protocol.errors import GoldenGrainError
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.messages import Benchmark, CurvePoint, Sale, Submission, validate_curve
from goldengrain_protocol.pricing import price_of
from goldengrain_protocol.types import Address, Hash32, hash32, to_checksum
from tests.contracts import chain
from tests.contracts.bazaar import START_S, Bazaar, Signer, digest, raw
from tests.contracts.chain import Reverted

GENERATORS = list(build_artifacts.GENERATORS)


@st.composite
def curves(draw: st.DrawFn) -> tuple[CurvePoint, ...]:
    scores = sorted(draw(st.sets(st.integers(0, 10**6), min_size=1, max_size=8)))
    small, large = st.integers(1, 1_000), st.integers(1, 2**88 - 1)
    prices = sorted(draw(st.one_of(small, large)) for _ in scores)
    return tuple(CurvePoint(score, price) for score, price in zip(scores, prices, strict=True))


@given(curves(), st.integers(0, 10**6), st.sampled_from(GENERATORS))
def test_price_of_equals_the_protocols_on_valid_curves(
    bazaars: Mapping[str, Bazaar], curve: tuple[CurvePoint, ...], bound_ppm: int, generator: str
) -> None:
    market = bazaars[generator].market
    points = [point.abi_tuple() for point in curve]
    for probe in {bound_ppm, curve[0].score_ppm, curve[-1].score_ppm, 0, 10**6}:
        assert market.call("price_of", points, probe) == price_of(curve, probe)


@given(
    st.lists(
        st.builds(
            CurvePoint,
            st.integers(0, 1_000_002) | st.sampled_from([0, 10**6, 10**6 + 1, 2**256 - 1]),
            st.integers(0, 20) | st.sampled_from([0, 2**88 - 1, 2**88, 2**256 - 1]),
        ),
        max_size=8,
    ),
    st.sampled_from(GENERATORS),
)
def test_a_benchmark_opens_exactly_with_the_curves_the_protocol_calls_valid(
    bazaars: Mapping[str, Bazaar], points: list[CurvePoint], generator: str
) -> None:
    bazaar = bazaars[generator]
    with boa.env.anchor():
        try:
            validate_curve(tuple(points))
        except GoldenGrainError:
            with pytest.raises(Reverted, match="market: bad price curve"):
                bazaar.open(bazaar.terms(curve=tuple(points)))
        else:
            bazaar.open(bazaar.terms(curve=tuple(points)))


addresses = st.binary(min_size=20, max_size=20).filter(any).map(Address)
digests = st.binary(min_size=32, max_size=32).map(hash32)
sales = st.builds(Sale, addresses, addresses, st.integers(0, 10_000))


@st.composite
def benchmarks(draw: st.DrawFn) -> Benchmark:
    return Benchmark(
        owner=draw(addresses),
        sale=draw(sales),
        spec_digest=draw(digests),
        testset_digest=draw(digests),
        verifier=draw(addresses),
        measurement=draw(digests),
        config_digest=draw(digests),
        assurance=draw(st.integers(1, 2)),
        tcb_allowed=draw(st.integers(1, 63)),
        quorum=draw(st.sampled_from([1, 3, 5])),
        fee_wei=draw(st.integers(0, 2**96 - 1)),
        submission_cap=draw(st.integers(1, 2**16 - 1)),
        step_ppm=draw(st.integers(1, 10**6)),
        submissions_close=draw(st.integers(START_S, 2**40 - 1 - 30 * 86_400)),
        result_window_s=draw(st.integers(1, 30 * 86_400)),
        curve=draw(curves()),
    )


@given(benchmarks(), st.data(), st.sampled_from(GENERATORS))
def test_every_id_and_every_packed_word_is_the_protocols(
    bazaars: Mapping[str, Bazaar], terms: Benchmark, data: st.DataObject, generator: str
) -> None:
    """Random full-width terms: benchmark, record and submission ids, and the words stored under them."""
    bazaar = bazaars[generator]
    owner, developer = to_checksum(terms.owner), to_checksum(data.draw(addresses))
    with boa.env.anchor():
        bazaar.open(terms, sender=owner)
        word = bazaar.market.call("benchmarks", bazaar.benchmark_id(terms))
        assert word & 0xFF == 1
        assert word >> 8 & 0xFFFF == terms.submission_cap
        assert word >> 24 & (2**40 - 1) == terms.submissions_close
        assert word >> 64 & (2**32 - 1) == terms.result_window_s
        assert word >> 96 == terms.fee_wei

        entry = bazaar.entry(
            terms, developer, payee=data.draw(addresses), reserve=data.draw(st.integers(0, 2**88 - 1))
        )
        boa.env.set_balance(developer, 2**97)
        bazaar.submit(entry)
        word = bazaar.market.call("submissions", entry.submission_id)
        assert word == 1 | (START_S + terms.result_window_s) << 8 | terms.fee_wei << 48
        assert bazaar.record(terms, developer) == (1, 1, 0, 0)


@given(st.binary(min_size=32, max_size=32), st.binary(min_size=65, max_size=65), st.sampled_from(GENERATORS))
def test_recovers_the_same_signer_as_the_protocol_or_nobody(
    probes: Mapping[str, Any], message: bytes, noise: bytes, generator: str
) -> None:
    signer = Signer.named("somebody")
    genuine = signer.sign(message)
    order = SECP256K1_ORDER
    high = genuine[:32] + (order - int.from_bytes(genuine[32:64], "big")).to_bytes(32, "big") + genuine[64:]
    for signature in (genuine, high, noise, genuine[:64] + noise[64:], noise[:32] + genuine[32:]):
        v, r, s = signature[64], signature[:32], signature[32:64]
        recovered = probes[generator].call("recover", message, v, r, s)
        try:
            expected = to_checksum(recover_signer(Hash32(message), signature))
        except GoldenGrainError:
            expected = "0x" + "00" * 20
        assert recovered == expected.lower()


@pytest.fixture(scope="session")
def probes() -> Mapping[str, Any]:
    source = chain.SOURCES / "Probe.vy"
    return {generator: chain.deploy(source, generator=generator) for generator in GENERATORS}


@settings(max_examples=30)
@given(st.integers(0, 30_000), st.integers(0, 30_000), st.sampled_from(GENERATORS))
def test_exactly_the_last_8191_blocks_are_ancestors(
    probes: Mapping[str, Any], bazaars: Mapping[str, Bazaar], number: int, claimed: int, generator: str
) -> None:
    head = int(boa.env.evm.patch.block_number)
    expected = head - 8_191 <= number < head
    assert probes[generator].call("is_ancestor", number, chain.block_hash(number)) == expected
    if claimed != number:
        assert not probes[generator].call("is_ancestor", number, chain.block_hash(claimed))


def test_order_and_enclave_ids_are_hashes_of_plain_words() -> None:
    sale = Sale(raw("0x" + "11" * 20), raw("0x" + "22" * 20), 5)
    terms = messages.OrderTerms(sale, raw("0x" + "33" * 20), 77, digest("hashlock"))
    words = digest("hashlock") + b"\x33" * 20
    padded = digest("hashlock") + (b"\x33" * 20).rjust(32, b"\0") + (77).to_bytes(32, "big")
    padded += (b"\x11" * 20).rjust(32, b"\0") + (b"\x22" * 20).rjust(32, b"\0") + (5).to_bytes(32, "big")
    assert messages.order_id(terms) == keccak256(padded) != keccak256(words)


def test_a_submission_body_has_seven_words() -> None:
    body = Submission(
        digest("b"), raw("0x" + "11" * 20), raw("0x" + "22" * 20), digest("c"), digest("s"), digest("k"), 9
    )
    assert len(body.abi_encode()) == 7 * 32
