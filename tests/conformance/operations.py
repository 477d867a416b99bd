"""What a vector asks an implementation to do: operation names mapped to this project's functions.

Every operation takes the vector's `input` object and returns something JSON can hold. The format is in
README.md.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from goldengrain_protocol import (
    canonical,
    commitments,
    container,
    eip712,
    frames,
    keyschedule,
    messages,
    pricing,
    sealing,
    spec,
    wire,
)
from goldengrain_protocol.attestation import measurement_sgx, measurement_tdx, report_data
from goldengrain_protocol.config import EnclaveConfig, config_digest
from goldengrain_protocol.hashing import sha256
from goldengrain_protocol.messages import Benchmark, CurvePoint, Offer, OrderTerms, Result, Submission
from goldengrain_protocol.proofs import ChainProof, verify_market_state, verify_trie_proof
from goldengrain_protocol.types import address_from_hex, hash32_from_hex

Input = dict[str, Any]


def unhex(text: str) -> bytes:
    return bytes.fromhex(text[2:])


def tohex(data: bytes) -> str:
    return "0x" + bytes(data).hex()


def bytes_of(value: Any) -> bytes:
    """Return the bytes that a vector writes as hex, or as a recipe (README.md, "Long byte strings")."""
    if isinstance(value, str):
        return unhex(value)
    if "repeat" in value:
        unit, size = unhex(value["repeat"]), value["size"]
        data = (unit * (size // len(unit) + 1))[:size]
    else:
        recipe = value["encrypt"]
        data = container.encrypt_container(
            bytes_of(recipe["plaintext"]), recipe["kind"], unhex(recipe["secret"]), unhex(recipe["salt"])
        )
    result = bytearray(data)
    for edit in value.get("edits", []):
        result[edit["at"] : edit["at"] + edit["remove"]] = bytes_of(edit["insert"])
    return bytes(result)


def decrypt_container(i: Input) -> Any:
    data = bytes_of(i["container"])
    if "content_key" in i:
        plain = container.decrypt_container_with_key(data, i["kind"], unhex(i["content_key"]))
        pieces = container.iter_decrypt_with_key(
            _pieces(data), kind=i["kind"], content_key=unhex(i["content_key"])
        )
    else:
        plain = container.decrypt_container(data, i["kind"], unhex(i["secret"]))
        pieces = container.iter_decrypt(_pieces(data), kind=i["kind"], secret=unhex(i["secret"]))
    if b"".join(pieces) != plain:
        raise AssertionError("stream and whole-buffer decryption differ")
    return {"plaintext_bytes": len(plain), "plaintext_sha256": tohex(sha256(plain))}


def encrypt_container(i: Input) -> Any:
    data = container.encrypt_container(
        bytes_of(i["plaintext"]), i["kind"], unhex(i["secret"]), unhex(i["salt"])
    )
    return {
        "header": tohex(data[: container.HEADER_BYTES]),
        "bytes": len(data),
        "digest": tohex(sha256(data)),
    }


def derive_keys(i: Input) -> Any:
    secret, salt, chain_id = unhex(i["secret"]), unhex(i["salt"]), i["chain_id"]
    market, buyer = address_from_hex(i["market"]), address_from_hex(i["buyer"])
    submission = hash32_from_hex(i["submission_id"])
    key = keyschedule.content_key(secret)
    pad = keyschedule.order_pad(secret, chain_id, market, submission, buyer, unhex(i["buyer_key"]))
    stream_key, prefix = keyschedule.container_stream_key(key, 1, salt)
    account, benchmark = unhex(i["account_key"]), hash32_from_hex(i["benchmark_id"])
    buyer_private = keyschedule.derive_buyer_private_key(
        account, chain_id, market, submission, i["order_nonce"]
    )
    return {
        "content_key": tohex(key),
        "secret_commitment": tohex(keyschedule.secret_commitment(secret)),
        "order_pad": tohex(pad),
        "hashlock": tohex(keyschedule.hashlock(pad)),
        "padded_key": tohex(keyschedule.xor32(key, pad)),
        "stream_key": tohex(stream_key),
        "nonce_prefix": tohex(prefix),
        "submission_secret": tohex(
            keyschedule.derive_submission_secret(account, chain_id, market, benchmark, salt)
        ),
        "testset_secret": tohex(keyschedule.derive_testset_secret(account, chain_id, market, salt)),
        "buyer_private_key": tohex(buyer_private),
        "buyer_public_key": tohex(sealing.x25519_public(buyer_private)),
    }


def open_sealed(i: Input) -> Any:
    return {"plaintext": tohex(sealing.open_sealed(unhex(i["private_key"]), unhex(i["sealed"]), _context(i)))}


def seal_context(i: Input) -> Any:
    return {"context": tohex(_context(i))}


def decode_sealed_keys(i: Input) -> Any:
    keys = sealing.SealedKeys.decode(unhex(i["data"]))
    _same(keys.encode(), unhex(i["data"]))
    return {"signers": [tohex(entry.signer) for entry in keys.entries]}


def identifiers(i: Input) -> Any:
    chain_id, market = i["chain_id"], address_from_hex(i["market"])
    benchmark, submission = Benchmark.from_abi(i["benchmark"]), Submission.from_abi(i["submission"])
    body = messages.body_hash(chain_id, market, submission)
    o = i["order"]
    order = OrderTerms(
        benchmark.sale, address_from_hex(o["buyer"]), o["deadline"], hash32_from_hex(o["hashlock"])
    )
    benchmark_id = messages.benchmark_id(chain_id, market, benchmark)
    signer = address_from_hex(i["signer"])
    enclave = messages.enclave_id(benchmark.verifier, signer, benchmark.measurement, benchmark.config_digest)
    return {
        "benchmark_id": tohex(benchmark_id),
        "body_hash": tohex(body),
        "submission_id": tohex(messages.submission_id(benchmark.sale, body)),
        "record_id": tohex(messages.record_id(benchmark_id, submission.developer)),
        "order_id": tohex(messages.order_id(order)),
        "enclave_id": tohex(enclave),
    }


def validate_benchmark(i: Input) -> Any:
    messages.validate_benchmark(Benchmark.from_abi(i["benchmark"]))
    return {}


def result_digest(i: Input) -> Any:
    digest = eip712.result_digest(i["chain_id"], address_from_hex(i["market"]), _result(i["result"]))
    return {"digest": tohex(digest)}


def offer_digest(i: Input) -> Any:
    o = i["offer"]
    offer = Offer(
        hash32_from_hex(o["submission_id"]),
        address_from_hex(o["buyer"]),
        unhex(o["buyer_key"]),
        hash32_from_hex(o["hashlock"]),
        unhex(o["sealed_pad"]),
    )
    return {"digest": tohex(eip712.offer_digest(i["chain_id"], address_from_hex(i["market"]), offer))}


def quote_verified_digest(i: Input) -> Any:
    statement = eip712.QuoteVerified(
        quote_digest=hash32_from_hex(i["quote_digest"]),
        measurement=hash32_from_hex(i["measurement"]),
        report_data_high=hash32_from_hex(i["report_data_high"]),
        report_data_low=hash32_from_hex(i["report_data_low"]),
        tcb_status=i["tcb_status"],
        expiry=i["expiry"],
        platform=hash32_from_hex(i["platform"]),
    )
    statement = eip712.QuoteVerified(
        quote_digest=hash32_from_hex(i["quote_digest"]),
        measurement=hash32_from_hex(i["measurement"]),
        report_data_high=hash32_from_hex(i["report_data_high"]),
        report_data_low=hash32_from_hex(i["report_data_low"]),
        tcb_status=i["tcb_status"],
        expiry=i["expiry"],
        platform=hash32_from_hex(i["platform"]),
    )
    digest = eip712.quote_verified_digest(i["chain_id"], address_from_hex(i["verifier"]), statement)
    return {"digest": tohex(digest)}


def platform_revoked_digest(i: Input) -> Any:
    digest = eip712.platform_revoked_digest(
        i["chain_id"], address_from_hex(i["verifier"]), hash32_from_hex(i["platform"])
    )
    return {"digest": tohex(digest)}


def recover_signer(i: Input) -> Any:
    return {"signer": tohex(eip712.recover_signer(hash32_from_hex(i["digest"]), unhex(i["signature"])))}


def price_of(i: Input) -> Any:
    curve = _curve(i["curve"])
    pricing.validate_curve(curve)
    return {"price": pricing.price_of(curve, i["bound_ppm"])}


def settle(i: Input) -> Any:
    chosen = pricing.chosen_result([_result(result) for result in i["results"]])
    state, price = pricing.settle(
        _curve(i["curve"]),
        chosen,
        best_bound_ppm=i["best_bound_ppm"],
        step_ppm=i["step_ppm"],
        reserve=i["reserve"],
    )
    return {"state": int(state), "price": price, "bound_ppm": chosen.bound_ppm}


def shares(i: Input) -> Any:
    return {
        "royalty": pricing.royalty_of(i["amount"], i["royalty_bps"]),
        "fee_shares": pricing.fee_shares(i["fee_wei"], i["workers"]),
        "quantized": pricing.quantize_down(i["ppm"], i["step"]),
    }


def blob_digest(i: Input) -> Any:
    chunks = commitments.chunk_list(bytes_of(i["data"]))
    return {"digest": tohex(commitments.blob_digest(chunks)), "chunk_list": tohex(chunks.encode())}


def decode_chunk_list(i: Input) -> Any:
    chunks = commitments.ChunkList.decode(bytes_of(i["data"]))
    return {"total_bytes": chunks.total_bytes, "pieces": len(chunks.piece_digests)}


def verify_piece(i: Input) -> Any:
    chunks = commitments.ChunkList.decode(unhex(i["chunk_list"]))
    commitments.verify_piece(chunks, i["index"], bytes_of(i["piece"]))
    return {}


def market_state(i: Input) -> Any:
    config = EnclaveConfig.decode(unhex(i["config"]))
    view = verify_market_state(
        config, ChainProof.decode(unhex(i["proof"])), [int(slot, 16) for slot in i["slots"]]
    )
    return {
        "anchor_number": view.anchor_number,
        "anchor_hash": tohex(view.anchor_hash),
        "values": [hex(value) for value in view.values],
    }


def trie_proof(i: Input) -> Any:
    value = verify_trie_proof(
        hash32_from_hex(i["root"]), hash32_from_hex(i["key"]), [unhex(node) for node in i["nodes"]]
    )
    return {"value": None if value is None else tohex(value)}


def decode_rlp(i: Input) -> Any:
    data = unhex(i["data"])
    _same(canonical.encode(canonical.decode(data)), data)
    return {}


def decode_request(i: Input) -> Any:
    data = unhex(i["data"])
    request = wire.decode_request(data)
    _same(wire.encode_request(request), data)
    return {"type": type(request).__name__}


def decode_reply(i: Input) -> Any:
    data = unhex(i["data"])
    reply = wire.decode_reply(data)
    _same(wire.encode_reply(reply), data)
    return {"type": type(reply).__name__}


def decode_evidence(i: Input) -> Any:
    data = unhex(i["data"])
    evidence = wire.decode_evidence(data)
    _same(evidence.encode(), data)
    return {"digest": tohex(wire.evidence_digest(evidence))}


def decode_frames(i: Input) -> Any:
    decoder = frames.FrameDecoder()
    payloads = [payload for piece in i["pieces"] for payload in decoder.feed(unhex(piece))]
    decoder.finish()
    return {"payloads": [tohex(payload) for payload in payloads]}


def decode_spec(i: Input) -> Any:
    decoded = spec.decode_spec(i["toml"].encode())
    if spec.decode_spec(spec.encode_spec(decoded)) != decoded:
        raise AssertionError("the encoded specification decodes to another one")
    return {"title": decoded.title, "task": decoded.task, "metric": decoded.score.metric}


def attestation_digests(i: Input) -> Any:
    config = EnclaveConfig.decode(unhex(i["config"]))
    signer, sealing_key = address_from_hex(i["signer"]), unhex(i["sealing_key"])
    registers = [unhex(register) for register in i["tdx_registers"]]
    return {
        "config_digest": tohex(config_digest(config)),
        "report_data": tohex(report_data(signer, sealing_key, config_digest(config))),
        "measurement_sgx": tohex(measurement_sgx(unhex(i["mr_enclave"]))),
        "measurement_tdx": tohex(measurement_tdx(*registers)),
    }


OPERATIONS: dict[str, Callable[[Input], Any]] = {
    function.__name__: function
    for function in (
        decrypt_container,
        encrypt_container,
        derive_keys,
        open_sealed,
        seal_context,
        decode_sealed_keys,
        identifiers,
        validate_benchmark,
        result_digest,
        offer_digest,
        quote_verified_digest,
        platform_revoked_digest,
        recover_signer,
        price_of,
        settle,
        shares,
        blob_digest,
        decode_chunk_list,
        verify_piece,
        market_state,
        trie_proof,
        decode_rlp,
        decode_request,
        decode_reply,
        decode_evidence,
        decode_frames,
        decode_spec,
        attestation_digests,
    )
}


def _pieces(data: bytes) -> list[bytes]:
    return [data[at : at + 700_001] for at in range(0, len(data), 700_001)] or [b""]


def _same(got: bytes, expected: bytes) -> None:
    if got != expected:
        raise AssertionError("a decoded value does not encode to the same bytes")


def _curve(points: list[list[int]]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(score, price) for score, price in points)


def _result(r: Input) -> Result:
    return Result(
        hash32_from_hex(r["submission_id"]),
        r["outcome"],
        r["score_ppm"],
        r["bound_ppm"],
        address_from_hex(r["worker"]),
        r["anchor_number"],
        hash32_from_hex(r["anchor_hash"]),
        hash32_from_hex(r["evidence_digest"]),
    )


def _context(i: Input) -> bytes:
    c = i["context"]
    chain_id, market = c["chain_id"], address_from_hex(c["market"])
    if c["for"] == "submission":
        return sealing.submission_seal_context(
            chain_id,
            market,
            hash32_from_hex(c["benchmark_id"]),
            address_from_hex(c["developer"]),
            hash32_from_hex(c["content_digest"]),
        )
    if c["for"] == "testset":
        return sealing.testset_seal_context(
            chain_id, market, hash32_from_hex(c["benchmark_id"]), hash32_from_hex(c["testset_digest"])
        )
    return sealing.offer_seal_context(
        chain_id,
        market,
        hash32_from_hex(c["submission_id"]),
        address_from_hex(c["buyer"]),
        hash32_from_hex(c["hashlock"]),
    )
