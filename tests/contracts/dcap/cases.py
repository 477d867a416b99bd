"""Worlds for the differential test: one that holds, and each with exactly one thing wrong or changed.

A case whose `stricter` is not empty is one that dcap-qvl accepts and the contracts refuse, for that reason;
docs/spec/quote-verifier.md lists them. In every other case both must say the same.
"""

import random
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final

from tests.contracts.dcap import pki
from tests.contracts.dcap.pki import DAY_S, NOW, ORDER, World

STATUSES: Final = (
    "UpToDate",
    "SWHardeningNeeded",
    "ConfigurationNeeded",
    "ConfigurationAndSWHardeningNeeded",
    "OutOfDate",
    "OutOfDateConfigurationNeeded",
    "Revoked",
)


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    world: World
    stricter: str = ""


def _region(version: int, offset_in_data: int, size: int) -> tuple[int, int]:
    """Where a part of the signature data begins and ends in a quote."""
    signed = {3: 432, 4: 632, 5: 702}[version]
    wrapper = 6 if version != 3 and offset_in_data >= 128 else 0
    start = signed + 4 + offset_in_data + wrapper
    return start, start + size


def _flip(position: int) -> Callable[[bytearray], None]:
    def edit(quote: bytearray) -> None:
        quote[position] ^= 1 << (position % 8)

    return edit


def flipped_bytes(version: int, region: str) -> Iterator[Case]:
    """Every byte of one region of the quote, one bit flipped, nothing signed again."""
    start, end = {
        "signed": (0, {3: 432, 4: 632, 5: 702}[version]),
        "signature": _region(version, 0, 64),
        "attestation key": _region(version, 64, 64),
        "qe report": _region(version, 128, 384),
        "qe signature": _region(version, 512, 64),
        "qe authentication": _region(version, 578, 32),
    }[region]
    # All of v3, and of v5 what it has more than v4; of the rest every fourth.
    for position in range(start, end):
        if version != 3 and position % 4 and not (version == 5 and (48 <= position < 54 or position >= 638)):
            continue
        yield Case(f"v{version} {region} byte {position - start}", World(version, edit_quote=_flip(position)))


def truncated(version: int) -> Iterator[Case]:
    size = len(World(version).quote())
    signed = {3: 432, 4: 632, 5: 702}[version]
    for cut in (1, 2, 31, 64, 500, size - signed, size - signed - 3, size - 48, size - 1):

        def edit(quote: bytearray, cut: int = cut) -> None:
            del quote[len(quote) - cut :]

        yield Case(f"v{version} cut by {cut}", World(version, edit_quote=edit))
    for extra in (b"\x01", b"\x00\x01", bytes(31) + b"x"):

        def append(quote: bytearray, extra: bytes = extra) -> None:
            quote += extra

        yield Case(f"v{version} with {extra!r} after it", World(version, edit_quote=append))


def lying_sizes(version: int) -> Iterator[Case]:
    signed = {3: 432, 4: 632, 5: 702}[version]
    places = {"data": (signed, 4), "authentication": (_region(version, 576, 2)[0], 2)}
    places["certificates"] = (_region(version, 612, 4)[0], 4)
    if version == 5:
        places["body"] = (50, 4)
    for name, (at, width) in places.items():
        for change in (-1, 1, 7, 1 << (8 * width - 1)):

            def edit(quote: bytearray, at: int = at, width: int = width, change: int = change) -> None:
                value = int.from_bytes(quote[at : at + width], "little") + change
                quote[at : at + width] = (value % (1 << (8 * width))).to_bytes(width, "little")

            lenient = name == "certificates" and change == -1
            stricter = "sizes inside a quote that do not add up" if lenient else ""
            yield Case(f"v{version} {name} size {change:+d}", World(version, edit_quote=edit), stricter)


def signatures(version: int) -> Iterator[Case]:
    for region, offset in (("signature", 0), ("qe signature", 512)):
        at, _ = _region(version, offset, 64)

        def twin(quote: bytearray, at: int = at) -> None:
            s = int.from_bytes(quote[at + 32 : at + 64], "big")
            quote[at + 32 : at + 64] = (ORDER - s).to_bytes(32, "big")

        yield Case(f"v{version} {region}: the other s", World(version, edit_quote=twin))
        for part, shift in (("r", 0), ("s", 32)):
            for name, value in (
                ("zero", 0),
                ("n", ORDER),
                ("n + 1", ORDER + 1),
                ("greatest", 2**256 - 1),
                ("one", 1),
            ):

                def edit(quote: bytearray, at: int = at + shift, value: int = value) -> None:
                    quote[at : at + 32] = value.to_bytes(32, "big")

                yield Case(f"v{version} {region}: {part} is {name}", World(version, edit_quote=edit))
    at, _ = _region(version, 64, 64)
    for name, point in (
        ("zero", bytes(64)),
        ("off the curve", bytes(63) + b"\x01"),
        ("greatest", b"\xff" * 64),
    ):

        def key(quote: bytearray, at: int = at, point: bytes = point) -> None:
            quote[at : at + 64] = point

        yield Case(f"v{version} attestation key {name}", World(version, edit_quote=key))


def _signed(version: int, at: int, value: bytes) -> World:
    signed = bytearray(pki.signed_part(version))
    signed[at : at + len(value)] = value
    return World(version, signed=bytes(signed))


def headers(version: int) -> Iterator[Case]:
    """Fields of header and body, the quote signed again."""
    for value in (0, 1, 2, 3, 4, 5, 6, 0x300, 65535):
        if value != version:
            yield Case(f"v{version} version {value}", _signed(version, 0, struct.pack("<H", value)))
    for value in (0, 1, 3, 512):
        yield Case(f"v{version} key type {value}", _signed(version, 2, struct.pack("<H", value)))
    for value in (0, 1, 0x80, 0x81, 0x82, 0x8100, 0x81000000):
        if value != (0 if version == 3 else 0x81):
            yield Case(f"v{version} tee type {value:#x}", _signed(version, 4, struct.pack("<I", value)))
    for at in (8, 10, 28, 47):
        yield Case(f"v{version} free header byte {at}", _signed(version, at, b"\xa5"))
    for at in range(12, 28):
        yield Case(f"v{version} qe vendor byte {at}", _signed(version, at, b"\xa5"))


def sgx_bodies() -> Iterator[Case]:
    body = 48
    for bit in range(8):
        attributes = bytes([5 ^ (1 << bit)])
        yield Case(f"sgx attribute bit {bit}", _signed(3, body + 48, attributes))
    for at in (0, 15, 16, 20, 56, 64, 95, 128, 200, 256, 258, 300, 320, 351, 352, 383):
        yield Case(f"sgx free body byte {at}", _signed(3, body + at, b"\x5a"))


def tdx_bodies(version: int) -> Iterator[Case]:
    body = 48 if version == 4 else 54
    for bit in range(64):
        attributes = (int.from_bytes(bytes.fromhex("0000001000000000"), "little") ^ (1 << bit)).to_bytes(
            8, "little"
        )
        known = (16, 18, 19, 20, 21, 22, 27, 62, 63)
        stricter = "td attributes of newer modules" if bit in known else ""
        yield Case(f"v{version} td attribute bit {bit}", _signed(version, body + 120, attributes), stricter)
    for at in (16, 128, 135, 136, 200, 300, 328, 519, 520, 583):
        yield Case(f"v{version} free body byte {at}", _signed(version, body + at, b"\x5a"))
    for at in range(64, 120, 7):
        yield Case(f"v{version} module byte {at}", _signed(version, body + at, b"\x01"))
    for major in (0, 1, 2, 3, 255):
        for minor in (0, 1, 2, 3, 4, 5, 255):
            yield Case(f"v{version} module {major}.{minor}", _signed(version, body, bytes([minor, major])))
    if version == 5:
        for at in range(600, 648):
            yield Case(f"v5 service td byte {at}", _signed(5, body + at, b"\x01"))
        for at in (584, 599):
            yield Case(f"v5 second tee tcb svn byte {at}", _signed(5, body + at, b"\x01"))
        for kind in (0, 1, 2, 4, 65535):
            yield Case(f"v5 body type {kind}", _signed(5, 48, struct.pack("<H", kind)))
        short = pki.signed_part(5)
        short = short[:48] + struct.pack("<HI", 2, 584) + short[54:638]
        yield Case("v5 with td report 1.0", World(5, signed=short))


def qe_reports(tee: str) -> Iterator[Case]:
    version = 3 if tee == "sgx" else 4
    usual = pki.qe_report(tee)

    def changed(at: int, value: bytes) -> World:
        return World(version, qe_report=usual[:at] + value + usual[at + len(value) :])

    for at in range(128, 160, 3):
        yield Case(f"{tee} qe mrsigner byte {at}", changed(at, bytes([usual[at] ^ 1])))
    for bit in range(128):
        attributes = int.from_bytes(usual[48:64], "little") ^ (1 << bit)
        yield Case(f"{tee} qe attribute bit {bit}", changed(48, attributes.to_bytes(16, "little")))
    for bit in range(32):
        yield Case(f"{tee} qe miscselect bit {bit}", changed(16, (1 << bit).to_bytes(4, "little")))
    for product in (0, 1, 2, 3, 256, 512, 65535):
        yield Case(f"{tee} qe isvprodid {product}", changed(256, struct.pack("<H", product)))
    for svn in (0, 1, 5, 6, 7, 8, 9, 256, 2048, 65535):
        yield Case(f"{tee} qe isvsvn {svn}", changed(258, struct.pack("<H", svn)))
    for at in (320, 335, 351):
        yield Case(f"{tee} qe report data byte {at}", changed(at, bytes([usual[at] ^ 128])))
    for at in (352, 383):
        reason = "a tail of the quoting enclave's report data that is not zero"
        yield Case(f"{tee} qe report data byte {at}", changed(at, b"\x01"), reason)
    for at in (0, 15, 20, 64, 95, 96, 160, 260, 300):
        yield Case(f"{tee} qe free byte {at}", changed(at, bytes([usual[at] ^ 85])))
    other = pki.qe_report(tee, "another attestation key")
    yield Case(f"{tee} qe report of another key", World(version, qe_report=other))
    yield Case(f"{tee} another attestation key", World(version, attestation_label="another attestation key"))


def _sgx(**changes: Any) -> bytes:
    fields = {"cpu_svn": pki.CPU_SVN, "pce_svn": pki.PCE_SVN, "fmspc": pki.FMSPC, "pce_id": bytes(2)}
    return pki.sgx_extension(**(fields | changes))


def certificates(version: int) -> Iterator[Case]:
    world = World(version)
    for role in ("pck", "issuer", "signer"):
        paper: pki.Paper = getattr(world, role)
        changes: dict[str, dict[str, Any]] = {
            "expired long ago": {"not_after": NOW - DAY_S},
            "expired a second ago": {"not_after": NOW - 1},
            "ends soon": {"not_after": NOW + 60},
            "not yet valid": {"not_before": NOW + 60},
            "begins now": {"not_before": NOW},
            "another issuer's name": {"issuer": "Somebody Else"},
            "another signer": {"signer_label": "somebody else"},
            "another serial": {"serial": paper.serial ^ 5},
            "small serial": {"serial": 127},
            "serial with a leading zero": {"serial": 128},
            "after 2050": {"not_after": 2_600_000_000},
            "an unknown critical extension": {"unknown_critical": True},
        }
        for name, change in changes.items():
            yield Case(f"v{version} {role}: {name}", world.but(**{role: replace(paper, **change)}))
    yield Case(f"v{version} pck is an authority", world.but(pck=replace(pki.PCK, path_length=0)))
    no_usage = replace(pki.PCK, key_usage="none")
    yield Case(f"v{version} pck may not sign", world.but(pck=no_usage), "key usage of an end entity")
    yield Case(
        f"v{version} issuer is no authority", world.but(issuer=replace(pki.PLATFORM_CA, path_length=None))
    )
    issuer = replace(pki.PLATFORM_CA, key_usage="sign")
    yield Case(f"v{version} issuer may not issue", world.but(issuer=issuer))
    signer = replace(pki.TCB_SIGNER, key_usage="none")
    yield Case(f"v{version} signer may not sign", world.but(signer=signer), "key usage of an end entity")
    yield Case(f"v{version} signer is an authority", world.but(signer=replace(pki.TCB_SIGNER, path_length=0)))
    yield Case(f"v{version} no sgx extension", world.but(pck=replace(pki.PCK, extension=b"")))
    by_root = replace(pki.PCK, issuer="Root CA", signer_label="root")
    yield Case(
        f"v{version} pck of the root", world.but(pck=by_root), "a pck certificate that the root signed"
    )
    chained = replace(pki.TCB_SIGNER, issuer="PCK CA", signer_label="platform ca")
    yield Case(f"v{version} signer below the pck issuer", world.but(signer=chained))
    for name, change in {
        "fmspc": {"fmspc": bytes.fromhex("53494d000003")},
        "longer fmspc": {"fmspc": bytes(7)},
        "longer cpu svn": {"cpu_svn": bytes(17)},
        "shorter cpu svn": {"cpu_svn": bytes(15)},
        "pce svn of two bytes": {"pce_svn": 256},
        "pce svn with a leading zero": {"pce_svn": 200},
        "greatest pce svn": {"pce_svn": 32767},
        "pce svn of three bytes": {"pce_svn": 65536},
    }.items():
        yield Case(f"v{version} sgx {name}", world.but(pck=replace(pki.PCK, extension=_sgx(**change))))
    other = replace(pki.PCK, extension=_sgx(pce_id=b"\x00\x01"))
    yield Case(f"v{version} sgx pce id", world.but(pck=other), "a pce id that is not the tcb info's")
    differing = replace(pki.PCK, extension=_sgx(components=bytes([10, *pki.CPU_SVN[1:]])))
    yield Case(
        f"v{version} sgx components differ", world.but(pck=differing), "components that differ from cpu svn"
    )


def revocations(version: int) -> Iterator[Case]:
    world = World(version)
    crl, root_crl = pki.PCK_CRL, pki.ROOT_CRL
    serials = {"pck": pki.PCK.serial, "issuer": pki.PLATFORM_CA.serial, "signer": pki.TCB_SIGNER.serial}
    serials["root"] = pki.ROOT.serial
    for count in (1, 2, 3, 4, 5, 8, 9, 40):
        others = tuple((0xA0 << 144) + 1000 + i for i in range(count - 1))
        for role, serial in serials.items():
            position = (count * 7) % count
            listed = (*others[:position], serial, *others[position:])
            yield Case(
                f"v{version} {role} revoked by its issuer's list of {count}",
                world.but(
                    **(
                        {"pck_crl": replace(crl, revoked=listed)}
                        if role == "pck"
                        else {"root_crl": replace(root_crl, revoked=listed)}
                    )
                ),
            )
        yield Case(
            f"v{version} {count} others revoked", world.but(pck_crl=replace(crl, revoked=(*others, 1)))
        )
    for role in ("issuer", "signer"):
        listed = (serials[role],)
        yield Case(
            f"v{version} {role}'s serial in the wrong list", world.but(pck_crl=replace(crl, revoked=listed))
        )
    yield Case(
        f"v{version} pck's serial in the wrong list",
        world.but(root_crl=replace(root_crl, revoked=(serials["pck"],))),
    )
    for name, usual in (("pck_crl", crl), ("root_crl", root_crl)):
        for label, change in {
            "empty": {"revoked": ()},
            "expired": {"expires": NOW - 1, "issued": NOW - DAY_S},
            "about to expire": {"expires": NOW + 1},
            "another issuer's name": {"issuer": "Somebody Else"},
            "another signer": {"signer_label": "somebody else"},
            "small serials": {"revoked": (1, 127, 128, 255, 256, 65535)},
        }.items():
            yield Case(f"v{version} {name}: {label}", world.but(**{name: replace(usual, **change)}))
        future = replace(usual, issued=NOW + 60)
        yield Case(
            f"v{version} {name}: from the future", world.but(**{name: future}), "a list from the future"
        )


def _edited(document: pki.Document, **changes: Any) -> pki.Document:
    return {key: changes.get(key, value) for key, value in document.items()}


def tcb_infos(version: int) -> Iterator[Case]:
    world = World(version)
    is_tdx = version != 3
    usual = pki.tcb_info(world.tee)

    def case(name: str, stricter: str = "", **changes: Any) -> Case:
        return Case(f"v{version} tcb info: {name}", world.but(tcb_info=_edited(usual, **changes)), stricter)

    first, *rest = usual["tcbLevels"]
    for status in (*STATUSES, "uptodate", "Unknown", ""):
        yield case(f"status {status}", tcbLevels=[{**first, "tcbStatus": status}, *rest])
    yield case("of the other tee", id="SGX" if is_tdx else "TDX")
    yield case("of no tee", id="QE")
    for number in (2, 4, 30):
        reason = "tcb info version 2, which nobody issues any longer" if number != 30 and not is_tdx else ""
        if number == 4:
            reason = "a version of the tcb info that nobody has seen"
        if number == 30:
            reason = "a version of the tcb info that nobody has seen"
        if number == 2 and is_tdx:
            reason = ""
        yield case(f"version {number}", reason, version=number)
    yield case("other fmspc", fmspc="53494D000003")
    yield case("fmspc in lower case", fmspc=pki.FMSPC.hex())
    yield case("short fmspc", fmspc="53494D0000")
    yield case("fmspc not hexadecimal", fmspc="53494D00000G")
    yield case("other pce id", "a pce id that is not the certificate's", pceId="0001")
    yield case("other type", "a tcb type that nobody knows", tcbType=1)
    yield case("expired", nextUpdate=pki.zulu(NOW - 1))
    yield case("ends now", "the last second", nextUpdate=pki.zulu(NOW))
    yield case("ends in a second", nextUpdate=pki.zulu(NOW + 1))
    yield case("from the future", issueDate=pki.zulu(NOW + 1))
    yield case("issued now", issueDate=pki.zulu(NOW))
    yield case("not a date", issueDate="2026-13-01T00:00:00Z")
    yield case("lower case date", "a date in another spelling", issueDate="2026-09-01t00:00:00z")
    yield case("date with an offset", "a date in another spelling", issueDate="2026-09-01T00:00:00+00:00")
    yield case("evaluation number 0", tcbEvaluationDataNumber=0)
    yield case("evaluation number 65535", tcbEvaluationDataNumber=65535)
    yield case("evaluation number 65536", "an evaluation number above 65,535", tcbEvaluationDataNumber=65536)
    yield case("negative evaluation number", tcbEvaluationDataNumber=-1)
    yield case("no levels", tcbLevels=[])
    yield case("levels in reverse", tcbLevels=[*reversed(usual["tcbLevels"])])
    yield case("only the lowest", tcbLevels=rest[-1:])
    twice = [first, {**first, "tcbStatus": "OutOfDate"}, *rest]
    yield case("two levels alike", tcbLevels=twice)
    higher = pki.tcb_level([255] * 16, 0, "UpToDate", [0] * 16 if is_tdx else None)
    yield case("no level reached", tcbLevels=[higher])
    for svn in (255, 256, 1000):
        tcb = pki.tcb_level([0] * 15 + [svn], 0, "UpToDate", [0] * 16 if is_tdx else None)
        yield case(f"component {svn}", tcbLevels=[tcb, rest[-1]])
    for pce_svn in (65535, 65536):
        tcb = pki.tcb_level([0] * 16, pce_svn, "UpToDate", [0] * 16 if is_tdx else None)
        yield case(f"pce svn {pce_svn}", tcbLevels=[tcb, rest[-1]])
    for count in (15, 17):
        tcb = pki.tcb_level([0] * count, 0, "UpToDate", [0] * 16 if is_tdx else None)
        stricter = "a number of components other than sixteen" if count == 15 else ""
        yield case(f"{count} components", stricter, tcbLevels=[tcb, rest[-1]])
    many = [pki.tcb_level([i] * 16, i, "OutOfDate", [0] * 16 if is_tdx else None) for i in range(40)]
    yield case("many levels", tcbLevels=many[: 8 if is_tdx else 40])
    advisories = [f"INTEL-SA-{i:05d}" for i in range(60)]
    yield case("sixty advisories", tcbLevels=[{**first, "advisoryIDs": advisories}, *rest])
    yield case("no advisories", tcbLevels=[{**first, "advisoryIDs": []}, *rest])
    odd = [{**first, "advisoryIDs": ["INTEL-SA-0061", "INTEL-SA-006155", "intel", "INTEL-SA-0061x"]}, *rest]
    yield case("odd advisories", tcbLevels=odd)
    hiding = [{**first, "advisoryIDs": ['"]}],"tcbLevels":[{']}, *rest]
    yield case("advisory that quotes", "an escape in a text", tcbLevels=hiding)
    if is_tdx:
        yield from _modules(version, case, usual)


def _modules(version: int, case: Callable[..., Case], usual: pki.Document) -> Iterator[Case]:
    third, first = usual["tdxModuleIdentities"]
    yield case("no module identities", tdxModuleIdentities=[])
    yield case("no identity of this version", tdxModuleIdentities=[third])
    yield case("identities in reverse", tdxModuleIdentities=[first, third])
    for status in STATUSES:
        levels = [{**first["tcbLevels"][0], "tcbStatus": status}]
        yield case(f"module status {status}", tdxModuleIdentities=[third, {**first, "tcbLevels": levels}])
    for svn in (4, 5, 6, 255, 256):
        levels = [{**first["tcbLevels"][0], "tcb": {"isvsvn": svn}}]
        yield case(f"module isvsvn {svn}", tdxModuleIdentities=[third, {**first, "tcbLevels": levels}])
    for name, change in {
        "mrsigner": {"mrsigner": "01" + "00" * 47},
        "short mrsigner": {"mrsigner": "00" * 47},
        "attributes": {"attributes": "01" + "00" * 7},
        "attributes without their mask": {"attributes": "01" + "00" * 7, "attributesMask": "00" * 8},
        "no mask": {"attributesMask": "00" * 8},
        "id in lower case": {"id": "tdx_01"},
        "id of one digit": {"id": "TDX_1"},
    }.items():
        stricter = "a module id that is not in capitals" if name == "id in lower case" else ""
        yield case(f"module {name}", stricter, tdxModuleIdentities=[third, {**first, **change}])
        if not name.startswith("id"):
            changed = {**usual["tdxModule"], **change}
            yield case(f"general module {name}", tdxModule=changed)
            yield case(f"only general module {name}", tdxModule=changed, tdxModuleIdentities=[])


def convergence(version: int) -> Iterator[Case]:
    """Every status of the platform with every status of its quoting enclave and its module."""
    world = World(version)
    for platform in STATUSES[:6]:
        info = pki.tcb_info(world.tee)
        info["tcbLevels"][0]["tcbStatus"] = platform
        for part in ("UpToDate", "OutOfDate", "Revoked"):
            identity = pki.qe_identity(world.tee)
            identity["tcbLevels"][0]["tcbStatus"] = part
            yield Case(
                f"v{version} {platform} with qe {part}", world.but(tcb_info=info, qe_identity=identity)
            )
            if version != 3:
                module = pki.tcb_info(world.tee)
                module["tcbLevels"][0]["tcbStatus"] = platform
                module["tdxModuleIdentities"][1]["tcbLevels"][0]["tcbStatus"] = part
                yield Case(f"v{version} {platform} with module {part}", world.but(tcb_info=module))


def qe_identities(version: int) -> Iterator[Case]:
    world = World(version)
    is_tdx = version != 3
    usual = pki.qe_identity(world.tee)

    def case(name: str, stricter: str = "", **changes: Any) -> Case:
        return Case(
            f"v{version} qe identity: {name}", world.but(qe_identity=_edited(usual, **changes)), stricter
        )

    first, *rest = usual["tcbLevels"]
    for status in (*STATUSES, "Unknown"):
        odd = status in ("ConfigurationNeeded", "OutOfDateConfigurationNeeded")
        stricter = "a status that a quoting enclave cannot have" if odd else ""
        yield case(f"status {status}", stricter, tcbLevels=[{**first, "tcbStatus": status}, *rest])
    yield case("of the other tee", id="QE" if is_tdx else "TD_QE")
    yield case("of the verification enclave", id="QVE")
    for number in (1, 2, 3, 4):
        yield case(f"version {number}", version=number)
    yield case("expired", nextUpdate=pki.zulu(NOW - 1))
    yield case("ends now", "the last second", nextUpdate=pki.zulu(NOW))
    yield case("from the future", issueDate=pki.zulu(NOW + 1))
    yield case("mrsigner", mrsigner="00" * 32)
    yield case("short mrsigner", mrsigner="00" * 31)
    yield case("lower case mrsigner", mrsigner=usual["mrsigner"].lower())
    yield case("isvprodid", isvprodid=7)
    yield case("no mask of miscselect", miscselect="FFFFFFFF", miscselectMask="00000000")
    yield case("miscselect", miscselect="00000001")
    yield case("miscselect not hexadecimal", miscselect="0000000g")
    yield case("attributes", attributes="13" + "00" * 15)
    yield case("no mask of attributes", attributes="FF" * 16, attributesMask="00" * 16)
    yield case("all attributes", attributesMask="FF" * 16)
    yield case("no levels", tcbLevels=[])
    for svn in (0, 7, 8, 9, 255, 256, 65535, 65536):
        yield case(f"isvsvn {svn}", tcbLevels=[{**first, "tcb": {"isvsvn": svn}}])
    many = [{**first, "tcb": {"isvsvn": 40 - i}, "tcbStatus": "OutOfDate"} for i in range(36)]
    yield case("many levels", tcbLevels=many)
    for count in (10, 11, 20):
        levels = [{**first, "tcb": {"isvsvn": 100 - i}} for i in range(count - 1)]
        yield case(f"the {count}th level", tcbLevels=[*levels, {**first, "tcbStatus": "OutOfDate"}])


def straddling(version: int, count: int) -> Iterator[Case]:
    """Machines and levels drawn at random, close to each other."""
    draw = random.Random(f"levels of v{version}")
    is_tdx = version != 3
    for i in range(count):

        def svns(around: Sequence[int], draw: random.Random = draw) -> list[int]:
            return [max(0, min(255, svn + draw.choice((0, 0, 0, 0, 0, 0, 1, -1, -3)))) for svn in around]

        levels = []
        for _ in range(draw.randrange(1, 6)):
            tdx = svns(pki.TEE_SVN) if is_tdx else None
            pce_svn = pki.PCE_SVN + draw.choice((0, 0, -1, 1))
            levels.append(pki.tcb_level(svns(pki.CPU_SVN), pce_svn, draw.choice(STATUSES), tdx))
        if draw.random() < 0.5:
            levels.append(pki.tcb_level([0] * 16, 0, "OutOfDate", [0] * 16 if is_tdx else None))
        info = _edited(pki.tcb_info("tdx" if is_tdx else "sgx"), tcbLevels=levels)
        yield Case(f"v{version} random levels {i}", World(version, tcb_info=info))


def tampered_collateral(version: int) -> Iterator[Case]:
    """Bits of signed documents and their signatures, nothing signed again; and JSON in another spelling."""
    draw = random.Random(f"tampered v{version}")
    usual = World(version).collateral()
    for name in ("tcb_info", "qe_identity"):
        for at in draw.sample(range(len(usual[name])), 30):

            def edit(collateral: pki.Document, name: str = name, at: int = at) -> None:
                text = collateral[name]
                collateral[name] = text[:at] + chr(ord(text[at]) ^ 1) + text[at + 1 :]

            yield Case(f"v{version} {name} character {at}", World(version, edit_collateral=edit))
        for spelling in (
            {"indent": 1},
            {"separators": (", ", ": ")},
            {"sort_keys": True, "separators": (",", ":")},
        ):

            def spell(collateral: pki.Document, name: str = name, spelling: Any = spelling) -> None:
                text = pki.json.dumps(pki.json.loads(collateral[name]), **spelling)
                collateral[name] = text
                collateral[f"{name}_signature"] = pki.raw_signature(
                    pki.key("tcb signing"), text.encode()
                ).hex()

            yield Case(
                f"v{version} {name} spelled with {spelling}",
                World(version, edit_collateral=spell),
                "JSON in another spelling",
            )
    for name in ("tcb_info_signature", "qe_identity_signature", "root_ca_crl", "pck_crl"):
        for at in draw.sample(range(len(usual[name]) // 2), 25):

            def flip(collateral: pki.Document, name: str = name, at: int = at) -> None:
                changed = bytearray.fromhex(collateral[name])
                changed[at] ^= 4
                collateral[name] = changed.hex()

            yield Case(f"v{version} {name} byte {at}", World(version, edit_collateral=flip))


def tampered_certificates(version: int) -> Iterator[Case]:
    """Every byte of the PCK certificate, one bit flipped, nothing signed again; and odd DER that is signed."""
    size = len(pki.PCK.der())
    for at in range(0, size, 2 if version == 3 else 31):

        def flip(certificate: bytes, at: int = at) -> bytes:
            return certificate[:at] + bytes([certificate[at] ^ (1 << (at % 8))]) + certificate[at + 1 :]

        yield Case(f"v{version} pck byte {at}", World(version, edit_pck=flip))
    for name, edit in ODD_DER.items():

        def again(certificate: bytes, edit: Callable[[bytes], bytes] = edit) -> bytes:
            return pki.sign_again(certificate, "platform ca", edit)

        stricter = "a negative serial" if "negative" in name else ""
        yield Case(f"v{version} pck with {name}", World(version, edit_pck=again), stricter)
    yield Case(f"v{version} pck with a byte after it", World(version, edit_pck=lambda der: der + b"\x00"))


def _long_form(at: int, octets: int) -> Callable[[bytes], bytes]:
    """Write the length of the `at`th member of a signed part in more bytes than it needs."""

    def edit(signed: bytes) -> bytes:
        members = pki.elements(pki.content_of(signed))
        content = pki.content_of(members[at])
        length = len(content).to_bytes(octets, "big")
        members[at] = bytes([members[at][0], 128 + octets]) + length + content
        return pki.der(48, *members)

    return edit


def _member(at: int, value: bytes) -> Callable[[bytes], bytes]:
    def edit(signed: bytes) -> bytes:
        members = pki.elements(pki.content_of(signed))
        members[at] = value
        return pki.der(48, *members)

    return edit


ODD_DER: Final[dict[str, Callable[[bytes], bytes]]] = {
    "a serial length in long form": _long_form(1, 1),
    "a serial length in longer form": _long_form(1, 2),
    "an issuer length in long form": _long_form(3, 2),
    "a validity length in long form": _long_form(4, 1),
    "a key length in long form": _long_form(6, 1),
    "extensions with a length of three bytes": _long_form(7, 3),
    "a negative serial": _member(1, b"\x02\x01\x81"),
    "a serial with a needless zero": _member(1, b"\x02\x02\x00\x01"),
    "a serial of no bytes": _member(1, b"\x02\x00"),
    "version 1": _member(0, b"\xa0\x03\x02\x01\x00"),
    "another algorithm": _member(2, bytes.fromhex("300a06082a8648ce3d040303")),
    "no extensions": lambda signed: pki.der(48, *pki.elements(pki.content_of(signed))[:7]),
    "a member after the extensions": lambda signed: pki.der(48, pki.content_of(signed), b"\x05\x00"),
}


FAMILIES: Final[dict[str, Callable[[], Iterator[Case]]]] = {
    **{
        f"v{version} flipped {region}": lambda version=version, region=region: flipped_bytes(version, region)
        for version in (3, 4, 5)
        for region in (
            "signed",
            "signature",
            "attestation key",
            "qe report",
            "qe signature",
            "qe authentication",
        )
        if version == 3 or region in ("signed", "signature")
    },
    **{
        f"v{version} {family.__name__}": lambda version=version, family=family: family(version)
        for version in (3, 4, 5)
        for family in (truncated, lying_sizes, signatures, headers)
    },
    "sgx_bodies": sgx_bodies,
    "v4 tdx_bodies": lambda: tdx_bodies(4),
    "v5 tdx_bodies": lambda: tdx_bodies(5),
    "sgx qe_reports": lambda: qe_reports("sgx"),
    "tdx qe_reports": lambda: qe_reports("tdx"),
    **{
        f"v{version} {family.__name__}": lambda version=version, family=family: family(version)
        for version in (3, 4)
        for family in (
            certificates,
            revocations,
            tcb_infos,
            qe_identities,
            convergence,
            tampered_collateral,
            tampered_certificates,
        )
    },
    "v3 straddling": lambda: straddling(3, 60),
    "v4 straddling": lambda: straddling(4, 40),
    "v5 straddling": lambda: straddling(5, 10),
}
