"""What the enclave asks of the machine it runs on.

A platform gives three things: a measurement of the running code, a DCAP quote over 64 chosen bytes, and (where it
can) sealing: encryption under a key that only the same measurement on the same machine gets back. Nothing else of
the machine is used, so adding a platform is writing one subclass and naming it in `select.py`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

from goldengrain_protocol.constants import Assurance
from goldengrain_protocol.types import Hash32


class Platform(ABC):
    """One TEE platform. Every method fails closed: it raises `UnavailableError` rather than weaken an answer."""

    name: str
    """Name under which the start configuration chooses the platform."""

    assurance: Assurance
    """Highest assurance that a quote of this platform can be registered with."""

    required_sandbox_layers: frozenset[str]
    """Layers around the model child without which an enclave on this platform refuses to start."""

    @abstractmethod
    def measurement(self) -> Hash32:
        """Return the measurement hash of the running code, as the contracts and benchmarks name it."""

    @abstractmethod
    def quote(self, report_data: bytes) -> bytes:
        """Return a DCAP quote whose report carries `report_data`.

        Args:
            report_data: exactly 64 bytes.

        Raises:
            UnavailableError: the platform did not produce a quote.
        """

    def seal(self, plaintext: bytes, context: bytes) -> bytes | None:
        """Return `plaintext` encrypted to this measurement and `context`; None where the platform cannot seal.

        Args:
            context: bound as associated data; `unseal` needs the same bytes.
        """
        return None

    def unseal(self, sealed: bytes, context: bytes) -> bytes:
        """Return what `seal` was given.

        Raises:
            VerificationError: other measurement, other machine, other context, or altered bytes.
            UnavailableError: this platform cannot seal.
        """
        from goldengrain_protocol.errors import UnavailableError

        raise UnavailableError(
            f"platform {self.name} cannot open sealed identities",
            next_step="boot with an empty sealed identity and register the new one",
        )
