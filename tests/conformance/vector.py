"""What a vector is, and the constants that many share."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.conformance.operations import OPERATIONS

HERE = Path(__file__).parent
VECTORS = HERE / "vectors"
CAPTURED = HERE / "captured" / "osaka_market.json"

SECRET = "0x" + bytes(range(32)).hex()
OTHER_SECRET = "0x" + bytes(range(1, 33)).hex()
SALT = "0x" + bytes(range(64, 96)).hex()
MARKET = "0x" + "a1" * 20
BUYER = "0x" + "b2" * 20


@dataclass(frozen=True)
class Vector:
    """One file. `expect` is accept, or the category of the refusal with `reason` part of its message."""

    layer: str
    name: str
    operation: str
    says: str
    input: dict[str, Any]
    expect: str = "accept"
    reason: str = ""
    randomised: bool = False

    @property
    def path(self) -> str:
        return f"{self.layer}/{self.name}.json"

    def text(self) -> str:
        body: dict[str, Any] = {
            "layer": self.layer,
            "operation": self.operation,
            "says": self.says,
            "input": self.input,
            "expect": self.expect,
        }
        if self.expect == "accept":
            body["output"] = OPERATIONS[self.operation](self.input)
        else:
            body["reason"] = self.reason
        body["randomised"] = self.randomised
        return json.dumps(body, indent=1) + "\n"
