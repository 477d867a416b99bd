"""Measures what on-chain attestation costs: whole transactions on a fresh osaka chain, limits and peers beside them.

`tools/gas.py` prints these rows with its own.

Registrations run under the simulated root, with quotes of real size. docs/spec/quote-verifier.md says what is checked.
"""

from collections.abc import Iterator
from typing import Final

from gas import Measurement
from market_on_anvil import Chain, address_of, digest, key

from goldengrain.chain import dcap
from goldengrain_enclave.platform.dcap_quote import sgx_quote_v3, tdx_quote
from goldengrain_enclave.platform.simulated_pki import collateral_json, create_pki
from goldengrain_protocol.attestation import report_data
from goldengrain_protocol.constants import Assurance

REGISTER_LIMIT: Final = 300_000
REMEMBERED_LIMIT: Final = 150_000
POST_LIMIT: Final = 600_000


def measure(chain: Chain) -> Iterator[Measurement]:
    """Yield every measurement, the promised ones first."""
    pki = create_pki(chain.now(), bytes(16))
    registry, _ = chain.deploy("EnclaveRegistry")
    deploy_gas: dict[str, int] = {}
    certificates, deploy_gas["certificates"] = chain.deploy("CollateralCertificates", pki.root_der)
    tcb, deploy_gas["tcb"] = chain.deploy("CollateralTcb", certificates.address)
    verifier, deploy_gas["verifier"] = chain.deploy("QuoteVerifier", tcb.address, int(Assurance.SIMULATED))

    posted: dict[str, int] = {}
    done: list[dcap.Post] = []
    for tee in ("sgx", "tdx"):
        for post in dcap.collateral_posts(collateral_json(pki, tee, chain.now())):
            key_of = (
                (post.function, post.arguments) if post.function == "post_authority" else (tee, post.subject)
            )
            if post in done or (post.function == "post_crl" and tee == "tdx"):
                continue
            contract = certificates if post.contract == "CollateralCertificates" else tcb
            call = contract.get_function_by_name(post.function)(*post.arguments)
            name = (
                f"{post.function}_{tee}"
                if key_of[0] == tee and post.contract == "CollateralTcb"
                else post.function
            )
            posted[name] = max(posted.get(name, 0), chain.send(call, chain.accounts[7])["gasUsed"])
            done.append(post)

    sealing_key, config = digest("sealing"), digest("config")
    peers = {
        "certificate": ("Automata on-chain DCAP", 4_000_000),
        "remembered": ("Automata through zk, least", 493_000),
    }
    for tee in ("sgx_v3", "tdx_v4", "tdx_v5"):
        for form, label, limit in (
            (dcap.PckForm.CERTIFICATE, "certificate", REGISTER_LIMIT),
            (dcap.PckForm.CERTIFICATE_AND_REMEMBER, "certificate_and_remember", REGISTER_LIMIT),
            (dcap.PckForm.REMEMBERED, "remembered", REMEMBERED_LIMIT),
        ):
            signer = address_of(key(f"enclave {tee} {label}"))
            data = report_data(signer, sealing_key, config)
            quoter = pki.quote_signer()
            if tee == "sgx_v3":
                quote = sgx_quote_v3(quoter, digest("mr enclave"), digest("mr signer"), data)
            else:
                register = digest("register") + bytes(16)
                version = 4 if tee == "tdx_v4" else 5
                quote = tdx_quote(quoter, register, (register,) * 4, data, version=version)
            signed, evidence = dcap.quote_call(quote, form=form)
            call = registry.functions.register(
                verifier.address,
                signed,
                evidence,
                chain.web3.to_checksum_address(signer),
                sealing_key,
                config,
            )
            gas = int(chain.send(call, chain.accounts[8])["gasUsed"])
            peer = peers.get(label, peers["certificate"])
            yield Measurement(f"register_{tee}_{label}", gas, "whole registration", limit, *peer)
    for name, gas in posted.items():
        yield Measurement(name, gas, "one level, simulated root", POST_LIMIT)
    for name, gas in deploy_gas.items():
        yield Measurement(f"deploy_{name}", gas, "creation transaction")
