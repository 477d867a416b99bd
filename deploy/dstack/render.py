"""Writes the documents that dstack measures, and prints what names them.

    python deploy/dstack/render.py IMAGE@sha256:DIGEST OUT_DIRECTORY [--key-provider kms|local|none]

Writes docker-compose.yaml and app-compose.json. Prints the compose hash (SHA-256 of app-compose.json, byte for byte)
and the application identity, its first 20 bytes. Deploy the application under exactly that identity: the enclave seals
its keys only where the identity is the digest of the code, so that no owner can exchange the code later.

Source: dstack, docs/security/cvm-boundaries.md.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
import sys
from pathlib import Path

TEMPLATE = Path(__file__).with_name("docker-compose.yaml")
DIGEST_NAME = re.compile(r"[a-z0-9][a-z0-9./_:-]*@sha256:[0-9a-f]{64}")


def app_compose(compose: str, key_provider: str) -> bytes:
    """Return app-compose.json: sorted keys, no spaces, so that everybody writes the same bytes."""
    document = {
        "manifest_version": 2,
        "name": "goldengrain-enclave",
        "runner": "docker-compose",
        "docker_compose_file": compose,
        "kms_enabled": key_provider == "kms",
        "local_key_provider_enabled": key_provider == "local",
        "gateway_enabled": False,
        "public_logs": True,
        "public_sysinfo": True,
        "public_tcbinfo": True,
        "allowed_envs": [],
        "no_instance_id": True,  # an instance's own number would give every machine its own measurement
        "secure_time": False,
    }
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=True).encode()


def render(image: str, out: Path, key_provider: str) -> bytes:
    """Write both documents and return the compose hash.

    Raises:
        SystemExit: the image is not named by its digest.
    """
    if not DIGEST_NAME.fullmatch(image):
        raise SystemExit("name the image by its digest: NAME@sha256:...")
    compose = TEMPLATE.read_text().replace("@IMAGE@", image)
    document = app_compose(compose, key_provider)
    out.mkdir(parents=True, exist_ok=True)
    (out / "docker-compose.yaml").write_text(compose)
    (out / "app-compose.json").write_bytes(document)
    return hashlib.sha256(document).digest()


def main() -> None:
    """Command line; see the top of this file."""
    parser = argparse.ArgumentParser(description="Write the documents that dstack measures.")
    parser.add_argument("image", metavar="IMAGE@sha256:DIGEST")
    parser.add_argument("out", type=Path, metavar="OUT_DIRECTORY")
    parser.add_argument("--key-provider", choices=("kms", "local", "none"), default="kms")
    options = parser.parse_args()
    compose_hash = render(options.image, options.out, options.key_provider)
    sys.stdout.write(f"compose_hash {compose_hash.hex()}\napp_id       {compose_hash[:20].hex()}\n")


if __name__ == "__main__":
    main()
