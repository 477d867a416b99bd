"""Accounts: encrypted keystores on disk, and unlocked keys in memory.

Keystores are the standard Ethereum JSON format (scrypt, AES-128-CTR, keccak MAC), one file per account, so
any wallet can read them. A key never appears in a message, a log line or a `repr`.
"""

import json
import secrets
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, TypeAlias

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount
from eth_keyfile.exceptions import EthKeyfileException
from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json
from eth_typing import Hash32 as EthHash32
from eth_utils.exceptions import ValidationError

from goldengrain.bounded_json import decode_json
from goldengrain.home import Home, atomic_write, check_name, read_json_object
from goldengrain_protocol.errors import InvalidInput, UnavailableError
from goldengrain_protocol.types import Address, Hash32, address_from_hex, hash32, to_checksum

# py_ecc, which eth_keyfile brings along, raises the limit to 100,000: far beyond what the C stack holds.
sys.setrecursionlimit(min(sys.getrecursionlimit(), 10_000))

SCRYPT_N: Final = 2**18
"""Scrypt work factor of a keystore: 256 MiB and about a second per guess."""
LIGHT_SCRYPT_N: Final = 2**12
"""Work factor for throw-away development accounts only: 4 MiB, a few milliseconds."""
MAX_KEYSTORE_BYTES: Final = 64 * 1024
MAX_PASSWORD_BYTES: Final = 4096

PasswordSource: TypeAlias = str | Path | Callable[[str], str]
"""The password itself, the path of a file that holds it, or a function that asks for it given a prompt."""


@dataclass(frozen=True, slots=True)
class AccountInfo:
    """A keystore as listed: nothing in it is secret."""

    name: str
    address: Address

    @property
    def checksum(self) -> str:
        """The address in EIP-55 mixed case."""
        return to_checksum(self.address)


class Account:
    """An unlocked account: signs with its key and shows only its name and address."""

    __slots__ = ("_signer", "address", "name")

    def __init__(self, name: str, signer: LocalAccount) -> None:
        self.name: Final = name
        self.address: Final = address_from_hex(signer.address)
        self._signer: Final = signer

    @classmethod
    def from_private_key(cls, private_key: bytes, name: str = "unnamed") -> "Account":
        """Return the account of a secp256k1 private key (32 bytes, big-endian, in 1..n-1).

        Raises:
            InvalidInput: it is not such a key; the message does not repeat it.
        """
        if len(private_key) != 32:
            raise InvalidInput(f"a private key has 32 bytes, got {len(private_key)}")
        try:
            return cls(name, EthAccount.from_key(private_key))
        except (ValueError, TypeError, ValidationError):
            raise InvalidInput("the private key is not a valid secp256k1 key") from None

    def __repr__(self) -> str:
        return f"Account({self.name!r}, {self.checksum})"

    def __reduce__(self) -> str:
        raise TypeError("an unlocked account cannot be pickled")

    @property
    def checksum(self) -> str:
        """The address in EIP-55 mixed case."""
        return to_checksum(self.address)

    def sign_transaction(self, fields: Mapping[str, Any]) -> tuple[bytes, Hash32]:
        """Return the raw signed transaction and its hash. `fields` as eth-account takes them."""
        signed = self._signer.sign_transaction(dict(fields))
        return bytes(signed.raw_transaction), hash32(bytes(signed.hash))

    def sign_digest(self, digest: Hash32) -> bytes:
        """Return the 65-byte signature r || s || v (v 27 or 28, low s) over a finished digest.

        The caller knows what the digest means: pass EIP-712 digests of this protocol only.
        """
        return bytes(self._signer.unsafe_sign_hash(EthHash32(digest)).signature)

    def dangerous_private_key(self) -> bytes:
        """Return the private key, for the key derivations of `goldengrain_protocol.keyschedule` only."""
        return bytes(self._signer.key)


class AccountStore:
    """The keystores below one home directory."""

    def __init__(self, home: Home) -> None:
        self._home = home

    def create(self, name: str, password: str, *, dangerous_light_kdf: bool = False) -> Account:
        """Create an account with a fresh random key and store it encrypted.

        Args:
            dangerous_light_kdf: store it with `LIGHT_SCRYPT_N`; development chains only.

        Raises:
            InvalidInput: the name is taken or malformed, or the password is empty.
        """
        while True:
            try:
                account = Account.from_private_key(secrets.token_bytes(32), check_name(name, "account"))
                break
            except InvalidInput:
                check_name(name, "account")
        self._store(account, password, dangerous_light_kdf=dangerous_light_kdf)
        return account

    def import_key(
        self, name: str, private_key: bytes, password: str, *, dangerous_light_kdf: bool = False
    ) -> Account:
        """Store an existing private key encrypted; arguments and errors as `create`."""
        account = Account.from_private_key(private_key, check_name(name, "account"))
        self._store(account, password, dangerous_light_kdf=dangerous_light_kdf)
        return account

    def import_keystore(self, name: str, keystore: bytes, password: str) -> Account:
        """Store a copy of a keystore file of another wallet after opening it with `password`.

        Raises:
            InvalidInput: not a keystore, a wrong password, or the name is taken.
        """
        check_name(name, "account")
        if len(keystore) > MAX_KEYSTORE_BYTES:
            raise InvalidInput(f"a keystore has at most {MAX_KEYSTORE_BYTES} bytes, got {len(keystore)}")
        try:
            fields = decode_json(keystore)
        except ValueError as exc:
            raise InvalidInput("the keystore is not JSON") from exc
        if not isinstance(fields, dict):
            raise InvalidInput("the keystore is not a JSON object")
        account = Account.from_private_key(_open_keystore(fields, password, name), name)
        self._write_new(name, keystore)
        return account

    def list(self) -> list[AccountInfo]:
        """Return the stored accounts in order of name. A file that is not a keystore is left out."""
        found = []
        for path in sorted(self._home.accounts_dir.glob("*.json")):
            try:
                found.append(AccountInfo(path.stem, self.address_of(path.stem)))
            except InvalidInput:
                continue
        return found

    def exists(self, name: str) -> bool:
        """Return whether a keystore of this name is stored."""
        return self._path(name).is_file()

    def address_of(self, name: str) -> Address:
        """Return the address of a stored account; needs no password.

        Raises:
            InvalidInput: no such account, or a damaged keystore.
        """
        value = self._read(name).get("address")
        if not isinstance(value, str):
            raise InvalidInput(f"keystore {self._path(name)} names no address")
        try:
            return address_from_hex(value if value.startswith("0x") else "0x" + value)
        except InvalidInput as exc:
            raise InvalidInput(f"keystore {self._path(name)}: {exc}") from exc

    def load(self, name: str, password: PasswordSource) -> Account:
        """Unlock a stored account.

        Raises:
            InvalidInput: no such account, a damaged keystore, or a wrong password.
        """
        fields = self._read(name)
        key = _open_keystore(fields, read_password(password, f"password of account {name}: "), name)
        account = Account.from_private_key(key, name)
        if account.address != self.address_of(name):
            raise InvalidInput(f"keystore {self._path(name)} names another address than its key has")
        return account

    def _path(self, name: str) -> Path:
        return self._home.accounts_dir / f"{check_name(name, 'account')}.json"

    def _read(self, name: str) -> dict[str, object]:
        path = self._path(name)
        if not path.is_file():
            known = (
                ", ".join(sorted(found.stem for found in self._home.accounts_dir.glob("*.json"))) or "none"
            )
            raise InvalidInput(
                f"no account named {name!r} (known: {known})", next_step=f"gg account create {name}"
            )
        if path.stat().st_size > MAX_KEYSTORE_BYTES:
            raise InvalidInput(f"keystore {path} is larger than {MAX_KEYSTORE_BYTES} bytes")
        return read_json_object(path)

    def _store(self, account: Account, password: str, *, dangerous_light_kdf: bool) -> None:
        if not password:
            raise InvalidInput(
                "the password is empty", next_step="choose a password of at least one character"
            )
        keystore = create_keyfile_json(
            account.dangerous_private_key(),
            password.encode(),
            kdf="scrypt",
            iterations=LIGHT_SCRYPT_N if dangerous_light_kdf else SCRYPT_N,
        )
        self._write_new(account.name, json.dumps(keystore, indent=1).encode())

    def _write_new(self, name: str, keystore: bytes) -> None:
        path = self._path(name)
        self._home.ensure(path.parent)
        with self._home.lock("accounts", wait_s=10.0):
            if path.exists():
                raise InvalidInput(
                    f"an account named {name!r} exists already",
                    next_step="choose another name, or use that account",
                )
            atomic_write(path, keystore)


def decode_private_key(text: str) -> bytes:
    """Return the 32 bytes of a private key written as 64 hexadecimal digits, with or without 0x.

    Raises:
        InvalidInput: malformed; the message does not repeat it.
    """
    digits = text.strip().removeprefix("0x")
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != 32 or len(digits) != 64:
        raise InvalidInput("a private key is written as 64 hexadecimal digits")
    return key


def key_of_mnemonic(mnemonic: str, index: int) -> bytes:
    """Return the private key of the `index`-th account of a BIP-39 mnemonic (path m/44'/60'/0'/0/index).

    Raises:
        InvalidInput: not a mnemonic; the message does not repeat it.
    """
    EthAccount.enable_unaudited_hdwallet_features()
    try:
        return bytes(EthAccount.from_mnemonic(mnemonic, account_path=f"m/44'/60'/0'/0/{index}").key)
    except (ValidationError, ValueError):
        raise InvalidInput("the mnemonic is not valid") from None


def read_password(source: PasswordSource, prompt: str) -> str:
    """Return the password from its source: itself, the first line of a file, or a function that asks.

    Raises:
        InvalidInput: the file is missing, larger than `MAX_PASSWORD_BYTES`, not UTF-8 or more than one line.
    """
    if isinstance(source, str):
        return source
    if not isinstance(source, Path):
        return source(prompt)
    try:
        with source.open("rb") as file:
            content = file.read(MAX_PASSWORD_BYTES + 1)
    except FileNotFoundError as exc:
        raise InvalidInput(f"no such password file: {source}") from exc
    except OSError as exc:
        raise UnavailableError(f"cannot read password file {source}: {exc.strerror}") from exc
    if len(content) > MAX_PASSWORD_BYTES:
        raise InvalidInput(f"password file {source} has more than {MAX_PASSWORD_BYTES} bytes")
    try:
        password = content.decode().removesuffix("\n").removesuffix("\r")
    except UnicodeDecodeError:
        raise InvalidInput(f"password file {source} is not UTF-8 text") from None
    if "\n" in password:
        raise InvalidInput(f"password file {source} has more than one line")
    return password


def _open_keystore(fields: dict[str, object], password: str, name: str) -> bytes:
    _check_work(fields)
    try:
        return bytes(decode_keyfile_json(fields, password.encode()))
    except ValueError as exc:
        if "MAC mismatch" not in str(exc):
            raise InvalidInput(f"keystore {name!r} is damaged or of an unknown kind") from None
        raise InvalidInput(
            f"wrong password for account {name!r}", next_step="run the command again with the right password"
        ) from None
    except (EthKeyfileException, TypeError, KeyError, AttributeError, OverflowError, MemoryError):
        # The decoder answers a malformed file with whatever its first broken assumption raises.
        raise InvalidInput(f"keystore {name!r} is damaged or of an unknown kind") from None


def _check_work(fields: dict[str, object]) -> None:
    """Refuse a keystore whose key derivation would take gigabytes or minutes."""
    crypto = next((value for key, value in fields.items() if key.lower() == "crypto"), None)
    parameters = crypto.get("kdfparams") if isinstance(crypto, dict) else None
    if not isinstance(parameters, dict):
        raise InvalidInput("the keystore has no key derivation parameters (is it a version 3 keystore?)")
    work = {key: parameters.get(key, 1) for key in ("n", "r", "p", "c")}
    if not all(isinstance(value, int) and value > 0 for value in work.values()):
        raise InvalidInput("the keystore's key derivation parameters are not positive integers")
    if work["n"] * work["r"] > 2**23 or work["p"] > 16 or work["c"] > 2**24:
        raise InvalidInput("the keystore's key derivation takes more than 1 GiB of memory")
