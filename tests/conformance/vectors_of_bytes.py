"""Vectors of RLP, the door, frames, the specification and attestation."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from goldengrain_protocol import canonical, wire
from goldengrain_protocol.canonical import encode
from tests.conformance.operations import tohex, unhex
from tests.conformance.vector import BUYER, MARKET, Vector
from tests.conformance.wire_samples import REPLIES, REQUESTS, evidence


def rlp_vectors() -> Iterator[Vector]:
    for name, data in (
        ("empty-string", "80"), ("empty-list", "c0"), ("byte", "7f"), ("byte-80", "8180"), ("nested", "c3c2c1c0"),
        ("long-string", "b838" + "61" * 56), ("long-list", "f838" + "80" * 56), ("depth-8", "c7c6c5c4c3c2c1c0"),
    ):  # fmt: skip
        yield Vector("rlp", name, "decode_rlp", name.replace("-", " "), {"data": "0x" + data})
    for name, data, reason in (
        ("nothing", "", "truncated"), ("trailing", "8080", "after the end"), ("truncated", "8361", "truncated"),
        ("prefix-truncated", "b9", "truncated"), ("byte-prefixed", "8100", "single byte"),
        ("long-form-short", "b801ff", "long form"), ("length-zero", "b90038" + "61" * 56, "leading zero"),
        ("list-long-form-short", "f801c0", "long form"), ("inner-overruns", "c28361", "truncated"),
        ("depth-9", "c8c7c6c5c4c3c2c1c0", "nested"), ("huge", "bfffffffffffffffff", "truncated"),
        ("items", "fa010001" + "80" * 65_537, "items"),
    ):  # fmt: skip
        yield Vector("rlp", f"refuse-{name}", "decode_rlp", name.replace("-", " "), {"data": "0x" + data}, "invalid",
                     reason)  # fmt: skip


def wire_vectors() -> Iterator[Vector]:

    for name, request in REQUESTS.items():
        data = wire.encode_request(request)
        yield Vector("wire", f"request-{name}", "decode_request", f"a {name} request", {"data": tohex(data)})
        items = canonical.decode(data)
        assert isinstance(items, list)
        short = canonical.encode(items[:-1])
        yield Vector("wire", f"refuse-request-{name}-short", "decode_request", "last field missing",
                     {"data": tohex(short)}, "invalid", "fields")  # fmt: skip
        yield Vector("wire", f"refuse-request-{name}-trailing", "decode_request", "a byte too many",
                     {"data": tohex(data + b"\0")}, "invalid", "after the end")  # fmt: skip
    for name, reply in REPLIES.items():
        data = wire.encode_reply(reply)
        yield Vector("wire", f"reply-{name}", "decode_reply", f"a {name} reply", {"data": tohex(data)})
        yield Vector("wire", f"refuse-reply-{name}-as-request", "decode_request", "a reply is no request",
                     {"data": tohex(data)}, "invalid", "request tag")  # fmt: skip
    yield Vector(
        "wire", "evidence", "decode_evidence", "published evidence", {"data": tohex(evidence().encode())}
    )

    def refused(name: str, says: str, items: Any, reason: str, operation: str = "decode_request") -> Vector:
        data = tohex(canonical.encode(items))
        return Vector("wire", f"refuse-{name}", operation, says, {"data": data}, "invalid", reason)

    trust = [b"dev-pinned", b"\xc0"]
    config = [b"\x01", bytes(20), bytes(20), trust]
    yield refused("tag", "unknown tag", [b"bootx", config, b""], "request tag")
    yield refused("tag-list", "the tag is a list", [[b"boot"], config, b""], "begins with its tag")
    yield refused(
        "chain-id-padded", "chain id with a leading zero", [b"boot", [b"\0\x01", *config[1:]], b""], "zero"
    )
    yield refused("chain-id-zero", "chain id 0", [b"boot", [b"", *config[1:]], b""], "chain id")
    yield refused("address-short", "19 bytes", [b"boot", [b"\x01", bytes(19), *config[2:]], b""], "20 bytes")
    yield refused("mode", "unknown chain trust", [b"boot", [*config[:3], [b"trust-me", b""]], b""], "mode")
    yield refused(
        "identity-large", "65,537 bytes of sealed identity", [b"boot", config, bytes(65_537)], "at most"
    )
    yield refused(
        "text", "text that is not utf-8", [b"error", b"invalid", b"\xff", b""], "utf-8", "decode_reply"
    )
    yield refused("category", "unknown category", [b"error", b"fatal", b"", b""], "category", "decode_reply")
    yield refused("signature", "64 bytes", [b"offered", [bytes(32), bytes(20), bytes(32), bytes(32), bytes(80)],
                  bytes(64)], "65 bytes", "decode_reply")  # fmt: skip
    yield refused(
        "evidence-version", "version 2", [b"\x02", *_evidence_items()[1:]], "version", "decode_evidence"
    )
    yield refused("evidence-outcome", "outcome 0", [*_evidence_items()[:10], b"", *_evidence_items()[11:]], "outcome",
                  "decode_evidence")  # fmt: skip


def _evidence_items() -> list[Any]:

    items = canonical.decode(evidence().encode())
    assert isinstance(items, list)
    return items


def frame_vectors() -> Iterator[Vector]:
    frame = "0000000000000003616263"
    yield Vector("frames", "one", "decode_frames", "one frame", {"pieces": ["0x" + frame]})
    yield Vector("frames", "split", "decode_frames", "two frames, cut anywhere",
                 {"pieces": ["0x" + frame[:4], "0x" + frame[4:] + frame[:18], "0x" + frame[18:]]})  # fmt: skip
    for name, says, pieces, reason in (
        ("zero", "an empty payload", ["0x" + "00" * 8], "1.."),
        ("large", "2^32 + 1 bytes announced", ["0x0000000100000001"], "1.."),
        ("truncated", "stream ends inside a frame", ["0x" + frame[:-2]], "inside a frame"),
        ("header", "stream ends inside a header", ["0x000000"], "inside a frame"),
    ):
        yield Vector("frames", f"refuse-{name}", "decode_frames", says, {"pieces": pieces}, "invalid", reason)


CLASSIFICATION = """format = 1
title = "Handwritten digits"
task = "classification"
classes = 10

[[inputs]]
name = "image"
dtype = "float32"
shape = ["n", 784]

[output]
name = "probabilities"
dtype = "float32"
shape = ["n", 10]

[score]
metric = "accuracy"
confidence_ppm = 950000

[limits]
model_bytes = 50000000
memory_bytes = 2000000000
cpu_s = 60
wall_s = 120
batch = 256
"""


REGRESSION = (
    CLASSIFICATION.replace('"classification"\nclasses = 10', '"regression"')
    .replace('["n", 10]', '["n"]')
    .replace('"accuracy"\nconfidence_ppm = 950000', '"mae"\nconfidence_ppm = 950000\nreference = 2.5')
)


def spec_vectors() -> Iterator[Vector]:
    good = {"classification": CLASSIFICATION, "regression-mae": REGRESSION,
            "regression-r2": REGRESSION.replace('"mae"', '"r2"').replace("reference = 2.5\n", "")}  # fmt: skip
    for name, toml in good.items():
        yield Vector("spec", name, "decode_spec", name.replace("-", " "), {"toml": toml})
    for name, old, new, reason in (
        ("not-toml", "format = 1", "format: 1", "not TOML"),
        ("format", "format = 1", "format = 2", "format must be 1"),
        ("format-missing", "format = 1\n", "", "format is missing"),
        ("unknown-key", "classes = 10", "classes = 10\nseed = 1", "seed is not a known key"),
        ("unknown-limit", "batch = 256", "batch = 256\ngpu = 1", "limits.gpu"),
        ("task", '"classification"', '"ranking"', "task must be one of"),
        ("classes-one", "classes = 10", "classes = 1", "classes must be"),
        ("classes-text", "classes = 10", 'classes = "10"', "classes must be"),
        ("classes-true", "classes = 10", "classes = true", "classes must be"),
        ("output-classes", '["n", 10]', '["n", 9]', "output.shape"),
        ("batch-axis", '["n", 784]', "[1, 784]", '"n" followed'),
        ("size-zero", '["n", 784]', '["n", 0]', '"n" followed'),
        (
            "dtype",
            'dtype = "float32"\nshape = ["n", 784]',
            'dtype = "string"\nshape = ["n", 784]',
            "inputs.dtype",
        ),
        ("metric", '"accuracy"', '"r2"', "score.metric"),
        ("confidence", "950000", "1000000", "confidence_ppm"),
        ("reference-not-known", "950000", "950000\nreference = 1.0", "score.reference"),
        ("memory-small", "memory_bytes = 2000000000", "memory_bytes = 1", "limits.memory_bytes"),
        ("wall-missing", "wall_s = 120\n", "", "limits.wall_s is missing"),
        ("title-empty", '"Handwritten digits"', '""', "title must be"),
        ("title-newline", "Handwritten digits", "a\\nb", "title must be"),
        ("inputs-table", "[[inputs]]", "[inputs]", "inputs must be an array"),
        (
            "inputs-twice",
            "[output]",
            '[[inputs]]\nname = "image"\ndtype = "float32"\nshape = ["n"]\n[output]',
            "must differ",
        ),
        ("nested", "classes = 10", "classes = " + "[" * 5000, ""),
    ):
        if old not in CLASSIFICATION:
            raise SystemExit(f"spec vector {name} changes nothing")
        toml = CLASSIFICATION.replace(old, new, 1)
        yield Vector(
            "spec", f"refuse-{name}", "decode_spec", name.replace("-", " "), {"toml": toml}, "invalid", reason
        )
    for name, old, new, reason in (
        ("mae-without-reference", "reference = 2.5\n", "", "reference is missing"),
        ("reference-zero", "2.5", "0", "above 0"), ("reference-infinite", "2.5", "inf", "above 0"),
        ("reference-nan", "2.5", "nan", "above 0"), ("regression-classes", 'task = "regression"',
        'task = "regression"\nclasses = 2', "classes is not a known key"), ("output-deep", 'shape = ["n"]',
        'shape = ["n", 2, 2]', "output.shape"),
    ):  # fmt: skip
        toml = REGRESSION.replace(old, new, 1)
        yield Vector(
            "spec", f"refuse-{name}", "decode_spec", name.replace("-", " "), {"toml": toml}, "invalid", reason
        )


def attestation_vectors() -> Iterator[Vector]:

    config = encode([b"\x7a\x69", unhex(MARKET), unhex(BUYER), [b"dev-pinned", encode([bytes(32), b"\x02"])]])
    base = {"config": tohex(config), "signer": "0x" + "21" * 20, "sealing_key": "0x" + "22" * 32,
            "mr_enclave": "0x" + "23" * 32, "tdx_registers": ["0x" + f"{n:02x}" * 48 for n in range(5)]}  # fmt: skip
    yield Vector("attestation", "digests", "attestation_digests", "what a quote binds", base)
    for name, key, value, reason in (
        ("sealing-key", "sealing_key", "0x" + "22" * 31, "32 bytes"),
        ("mr-enclave", "mr_enclave", "0x" + "23" * 48, "32 bytes"),
        ("register", "tdx_registers", ["0x" + "00" * 32] * 5, "48 bytes"),
        ("config", "config", tohex(encode([b"\x01", unhex(MARKET), unhex(BUYER)])), "4 fields"),
    ):
        yield Vector("attestation", f"refuse-{name}", "attestation_digests", f"{name} of another form",
                     base | {key: value}, "invalid", reason)  # fmt: skip
