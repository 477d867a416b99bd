"""From a verified job to its plaintexts.

The test set is the provider's and the host's matter: if it cannot be opened the job is refused and nothing is signed.
The model is the developer's: its sealed key and container are fixed on the chain, so what does not open is the
model's own failure.
"""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass
from hmac import compare_digest
from typing import Final

from goldengrain_protocol import keyschedule
from goldengrain_protocol.config import EnclaveConfig
from goldengrain_protocol.container import ContainerKind, decode_header, decrypt_container
from goldengrain_protocol.errors import InvalidInput, UnavailableError, VerificationError
from goldengrain_protocol.messages import Submission
from goldengrain_protocol.sealing import SealedKeys, submission_seal_context, testset_seal_context
from goldengrain_protocol.types import Hash32

from .benchmark.failures import ModelFailure, Reason
from .benchmark.testset import Testset, decode_testset
from .keys import Identity
from .verify import VerifiedJob

MAX_HELD_BYTES: Final = 8 * 2**30
"""Plain test sets kept for later jobs (8 GiB); the one used longest ago goes first."""


@dataclass(frozen=True, slots=True)
class OpenedJob:
    """A job in plain. Lives for one evaluation."""

    job: VerifiedJob
    testset: Testset
    model: bytearray | ModelFailure


class TestsetStore:
    """Test sets decrypted once per life of the enclave.

    Keyed by benchmark, not by digest: a foreign benchmark that names the same ciphertext must bring a key that was
    sealed for it, or it would be a cheap way to probe somebody else's test set.
    """

    __test__ = False  # not a test class

    def __init__(self) -> None:
        self._held: OrderedDict[Hash32, Testset] = OrderedDict()

    def get(self, benchmark_id: Hash32) -> Testset | None:
        """Return the test set of a benchmark if it is held."""
        testset = self._held.get(benchmark_id)
        if testset is not None:
            self._held.move_to_end(benchmark_id)
        return testset

    def put(self, benchmark_id: Hash32, testset: Testset) -> None:
        """Hold a test set, and let go of others if there are too many."""
        self._held[benchmark_id] = testset
        while len(self._held) > 1 and sum(held.size_bytes for held in self._held.values()) > MAX_HELD_BYTES:
            self._held.popitem(last=False)


def open_job(job: VerifiedJob, config: EnclaveConfig, identity: Identity, held: TestsetStore) -> OpenedJob:
    """Return the job with test set and model in plain.

    Raises:
        UnavailableError: the request omits a test set that the enclave does not hold.
        InvalidInput, VerificationError: the test set does not open or does not fit its specification, or nothing of
            the submission was sealed to this enclave.
    """
    testset = held.get(job.benchmark_id)
    if testset is None:
        testset = _open_testset(job, config, identity)
        held.put(job.benchmark_id, testset)
    try:
        return OpenedJob(job, testset, _open_model(job, config, identity))
    except ModelFailure as failure:
        return OpenedJob(job, testset, failure)


def open_submission_secret(
    submission: Submission, sealed_keys: bytes, config: EnclaveConfig, identity: Identity
) -> bytes:
    """Return the secret `s` of a submission, checked against its commitment on the chain.

    Raises:
        VerificationError: nothing was sealed to this enclave.
        ModelFailure: what was sealed to it does not open, or is another secret.
    """
    try:
        keys = SealedKeys.decode(sealed_keys)
    except InvalidInput as exc:
        raise ModelFailure(Reason.SEALED_KEY_DOES_NOT_OPEN, exc.message) from exc
    sealed = keys.for_signer(identity.signer)
    context = submission_seal_context(
        config.chain_id,
        config.market,
        submission.benchmark_id,
        submission.developer,
        submission.content_digest,
    )
    try:
        secret = identity.open(sealed, context)
        commitment = keyschedule.secret_commitment(secret)
    except (InvalidInput, VerificationError) as exc:
        raise ModelFailure(Reason.SEALED_KEY_DOES_NOT_OPEN, exc.message) from exc
    if not compare_digest(commitment, submission.secret_commitment):
        raise ModelFailure(Reason.SECRET_DOES_NOT_MATCH)
    return secret


def _open_testset(job: VerifiedJob, config: EnclaveConfig, identity: Identity) -> Testset:
    if not job.testset:
        raise UnavailableError(
            "the enclave does not hold the test set of this benchmark",
            next_step="send the request again with the test-set container",
        )
    sealed = SealedKeys.decode(job.testset_sealed_keys).for_signer(identity.signer)
    context = testset_seal_context(
        config.chain_id, config.market, job.benchmark_id, job.benchmark.testset_digest
    )
    secret = identity.open(sealed, context)
    return decode_testset(decrypt_container(job.testset, ContainerKind.TESTSET, secret), job.spec)


def _open_model(job: VerifiedJob, config: EnclaveConfig, identity: Identity) -> bytearray:
    secret = open_submission_secret(job.submission, job.sealed_keys, config, identity)
    try:
        header = decode_header(job.model)
        if header.plaintext_bytes > job.spec.limits.model_bytes:
            raise ModelFailure(Reason.MODEL_TOO_LARGE)
        return decrypt_container(job.model, ContainerKind.MODEL, secret)
    except (InvalidInput, VerificationError) as exc:
        raise ModelFailure(Reason.CONTAINER_DOES_NOT_DECRYPT, exc.message) from exc
