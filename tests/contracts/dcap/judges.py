"""The two who judge a world: dcap-qvl under its strict policy, and the contracts."""

import json
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import boa
import build_artifacts
from boa.vm import py_evm
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature

from goldengrain.chain import dcap
from goldengrain_protocol import attestation
from goldengrain_protocol.errors import GoldenGrainError
from tests.contracts import chain
from tests.contracts.chain import Contract, Reverted
from tests.contracts.dcap.pki import NOW, ROOT, World

CONTRACTS: Final = build_artifacts.CONTRACTS
P256: Final = "0x0000000000000000000000000000000000000100"
P256_GAS: Final = 6_900
SIMULATED: Final = 1


def _verify_p256(computation: Any) -> Any:
    """EIP-7951, which the in-process chain lacks."""
    computation.consume_gas(P256_GAS, reason="P256VERIFY")
    data = bytes(computation.msg.data)
    computation.output = b""
    if len(data) == 160:
        r, s, x, y = (int.from_bytes(data[i : i + 32], "big") for i in range(32, 160, 32))
        try:
            key = ec.EllipticCurvePublicNumbers(x, y, ec.SECP256R1()).public_key()
            key.verify(encode_dss_signature(r, s), data[:32], ec.ECDSA(Prehashed(hashes.SHA256())))
        except (ValueError, InvalidSignature):
            return computation
        computation.output = (1).to_bytes(32, "big")
    return computation


with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    py_evm.register_raw_precompile(P256, _verify_p256)


@dataclass(frozen=True, slots=True)
class Verdict:
    """What both judges must say the same of."""

    measurement: bytes
    report_data: bytes
    tcb_status: int
    expiry: int
    platform: bytes


@dataclass(frozen=True, slots=True)
class Refusal:
    reason: str


def off_chain(world: World) -> Verdict | Refusal:
    """Return what dcap-qvl says, with the root of the world's own chain trusted."""
    collateral = json.dumps(world.collateral()).encode()
    try:
        found = attestation.verify_quote(world.quote(), collateral, root_der=ROOT.der(), at_unix_s=world.now)
    except GoldenGrainError as exc:
        return Refusal(str(exc))
    return Verdict(
        bytes(found.measurement),
        found.report_data,
        int(found.tcb_status),
        found.expiry,
        bytes(found.platform),
    )


class Deployment:
    """The three contracts under one root."""

    def __init__(
        self, root_der: bytes, generator: str = build_artifacts.RELEASE_GENERATOR, assurance: int = SIMULATED
    ):
        self.certificates = chain.deploy(
            CONTRACTS / "CollateralCertificates.vy", root_der, generator=generator
        )
        self.tcb = chain.deploy(
            CONTRACTS / "CollateralTcb.vy", self.certificates.address, generator=generator
        )
        self.verifier = chain.deploy(
            CONTRACTS / "QuoteVerifier.vy", self.tcb.address, assurance, generator=generator
        )
        self.stranger = chain.account("stranger")
        self.remembers = False
        """Whether the usual PCK certificate is remembered."""

    def post(self, post: dcap.Post) -> None:
        """Raises: Reverted."""
        contract: Contract = {"CollateralCertificates": self.certificates, "CollateralTcb": self.tcb}[
            post.contract
        ]
        contract.call(post.function, *post.arguments, sender=self.stranger)

    def post_all(self, collateral_json: bytes) -> None:
        for post in dcap.collateral_posts(collateral_json):
            self.post(post)

    def verify(self, quote: bytes, form: dcap.PckForm = dcap.PckForm.CERTIFICATE) -> Verdict:
        """Raises: Reverted; InvalidInput."""
        return self.verify_raw(*dcap.quote_call(quote, form=form))

    def verify_raw(self, signed: bytes, evidence: bytes) -> Verdict:
        """Raises: Reverted."""
        answer = self.verifier.call("verify_quote", signed, evidence, sender=self.stranger)
        measurement, high, low, status, _, expiry, platform = answer
        return Verdict(measurement, high + low, status, expiry, platform)


class OnChain:
    """Judges worlds by the contracts, from states in which all but what a world changes is posted already."""

    def __init__(self, generator: str = build_artifacts.RELEASE_GENERATOR) -> None:
        self.generator = generator
        self.root_der = ROOT.der()
        chain.set_time(NOW)
        self.states: dict[str, Deployment] = {}
        sgx, tdx = World(3), World(4)
        self.base = {tee.tee: self._posts(tee) for tee in (sgx, tdx)}
        self.usual_quotes = {sgx.tee: dcap.split_quote(sgx.quote()), tdx.tee: dcap.split_quote(tdx.quote())}

    def judge(self, world: World) -> Verdict | Refusal:
        try:
            return self._judge(world)
        except (Reverted, GoldenGrainError) as exc:
            return Refusal(str(exc))
        finally:
            chain.set_time(NOW)

    def _judge(self, world: World) -> Verdict:
        posts = self._posts(world)
        known = self.base[world.tee]
        changed = [post for post in posts if post not in known]
        replaced = {post.subject for post in changed if post.function != "post_authority"}
        if not changed:
            state = self.state("")
        elif len(replaced) == len(changed) == 1:
            state = self.state(f"{world.tee} {replaced.pop()}")
        else:
            state, changed = self.state("everything"), posts
        quote = world.quote()
        usual = dcap.split_quote(quote).certificates == self.usual_quotes[world.tee].certificates
        form = dcap.PckForm.REMEMBERED if usual and state.remembers else dcap.PckForm.CERTIFICATE
        with boa.env.anchor():
            chain.set_time(world.now)
            for post in changed:
                state.post(post)
            return state.verify(quote, form)

    def state(self, missing: str) -> Deployment:
        """Return contracts that know everything but the named document ("sgx tcb info"), or nothing at all."""
        if missing not in self.states:
            deployment = Deployment(self.root_der, self.generator)
            done: list[dcap.Post] = []
            for tee, posts in self.base.items():
                for post in posts:
                    shared = post.contract == "CollateralCertificates"
                    label = f"{tee} {post.subject}"
                    if missing == "everything" or label == missing or post in done:
                        continue
                    if shared and missing.endswith(post.subject):
                        continue
                    deployment.post(post)
                    done.append(post)
            if missing != "everything" and not missing.endswith("crl"):
                pck = dcap.certificate_pck(self.usual_quotes["sgx"])
                form = dcap.PckForm.CERTIFICATE_AND_REMEMBER
                deployment.certificates.call("verify_platform", int(form), pck)
                deployment.remembers = True
            self.states[missing] = deployment
        return self.states[missing]

    def _posts(self, world: World) -> list[dcap.Post]:
        return dcap.collateral_posts(json.dumps(world.collateral()).encode())


def vectors() -> Mapping[str, tuple[bytes, bytes]]:
    """Return real quotes with their collateral, if the third-party vectors lie beside the repository."""
    folder = Path(build_artifacts.REPOSITORY).parent / "shared" / "vectors" / "dcap"
    if not folder.is_dir():
        return {}
    return {
        path.name: (path.read_bytes(), path.with_name(f"{path.name}_collateral.json").read_bytes())
        for path in sorted(folder.glob("*_quote"))
    }
