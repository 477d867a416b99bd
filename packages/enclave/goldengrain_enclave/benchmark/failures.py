"""The fixed words for a model that failed.

A failure is signed and published, so its text comes from this table alone: nothing that a model or a test set says
can reach it. Failures of the machine are `UnavailableError` and are never signed.
"""

from __future__ import annotations

from enum import IntEnum
from typing import Final


class Reason(IntEnum):
    """Why a model failed; 0 in the evidence of a scored model."""

    NONE = 0
    SEALED_KEY_DOES_NOT_OPEN = 1
    SECRET_DOES_NOT_MATCH = 2
    CONTAINER_DOES_NOT_DECRYPT = 3
    MODEL_TOO_LARGE = 4
    NOT_AN_ONNX_MODEL = 5
    FORBIDDEN_FEATURE = 6
    FORBIDDEN_OPERATOR = 7
    TOO_COMPLEX = 8
    DOES_NOT_LOAD = 9
    INPUTS_DO_NOT_MATCH = 10
    OUTPUT_DOES_NOT_MATCH = 11
    OUTPUT_NOT_FINITE = 12
    CPU_LIMIT = 13
    WALL_LIMIT = 14
    MEMORY_LIMIT = 15
    RUN_FAILED = 16
    DEPENDS_ON_BATCH = 17


REASON_TEXT: Final[dict[Reason, str]] = {
    Reason.NONE: "",
    Reason.SEALED_KEY_DOES_NOT_OPEN: "the key sealed to this enclave does not open",
    Reason.SECRET_DOES_NOT_MATCH: "the sealed secret does not match the submission's commitment",
    Reason.CONTAINER_DOES_NOT_DECRYPT: "the model container does not decrypt under the submission's secret",
    Reason.MODEL_TOO_LARGE: "the model is larger than the benchmark's model_bytes limit",
    Reason.NOT_AN_ONNX_MODEL: "the file is not a valid ONNX model",
    Reason.FORBIDDEN_FEATURE: "the model uses functions, training info, sparse or external data or a custom domain",
    Reason.FORBIDDEN_OPERATOR: "the model uses an operator that is not on the allow-list",
    Reason.TOO_COMPLEX: "the model has too many nodes, fields or tensors, or is nested too deeply",
    Reason.DOES_NOT_LOAD: "the runtime cannot load the model",
    Reason.INPUTS_DO_NOT_MATCH: "the model's inputs do not match the benchmark's names, shapes or dtypes",
    Reason.OUTPUT_DOES_NOT_MATCH: "the model's output does not match the benchmark's name, shape or dtype",
    Reason.OUTPUT_NOT_FINITE: "the model's output contains NaN or infinity",
    Reason.CPU_LIMIT: "the model needs more processor time than the benchmark's cpu_s limit",
    Reason.WALL_LIMIT: "the model ran longer than the benchmark's wall_s limit",
    Reason.MEMORY_LIMIT: "the model needs more memory than the benchmark's memory_bytes limit",
    Reason.RUN_FAILED: "the model failed while it ran",
    Reason.DEPENDS_ON_BATCH: "the model's answer to a sample depends on the other samples of its batch",
}


class ModelFailure(Exception):
    """The model's own failure: the submission is spent and the reason is published.

    Args:
        reason: what is published.
        detail: for the model's owner in a local check; may quote the model's own names, and is never published.
    """

    def __init__(self, reason: Reason, detail: str = "") -> None:
        super().__init__(REASON_TEXT[reason])
        self.reason = reason
        self.detail = detail
