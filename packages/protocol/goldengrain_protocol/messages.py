"""Everything that the parties say to one another: values, identifiers and rules under one name."""

from goldengrain_protocol.identifiers import (
    benchmark_id,
    body_hash,
    enclave_id,
    order_id,
    record_id,
    submission_id,
)
from goldengrain_protocol.rules import validate_benchmark, validate_curve
from goldengrain_protocol.terms import Benchmark, CurvePoint, Offer, OrderTerms, Result, Sale, Submission

__all__ = [
    "Benchmark",
    "CurvePoint",
    "Offer",
    "OrderTerms",
    "Result",
    "Sale",
    "Submission",
    "benchmark_id",
    "body_hash",
    "enclave_id",
    "order_id",
    "record_id",
    "submission_id",
    "validate_benchmark",
    "validate_curve",
]
