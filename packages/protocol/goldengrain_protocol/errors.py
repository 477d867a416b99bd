"""The errors of Golden Grain.

    GoldenGrainError
    ├── InvalidInput        malformed: the bytes or values cannot be what they claim to be
    ├── VerificationError   well-formed but untrue: a proof, signature, digest or key does not fit
    └── UnavailableError    retryable: a transport or service did not answer (raised outside this package)

Messages are lower case, name the unmet condition (expected, then got) and never contain a secret.
Only `InvalidInput` may leave a decoder.
"""


class GoldenGrainError(Exception):
    """Base of every error that the project raises on purpose.

    `next_step` tells the user what to do next; it is empty where there is nothing useful to say.
    """

    def __init__(self, message: str, *, next_step: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.next_step = next_step


class InvalidInput(GoldenGrainError):
    """The input is malformed."""


class VerificationError(GoldenGrainError):
    """The input is well-formed and untrue."""


class UnavailableError(GoldenGrainError):
    """A transport or service is not available now; the same call may succeed later."""
