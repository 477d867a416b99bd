"""Keystores: encrypted, checked, and silent about their keys."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path

import pytest
from eth_account import Account as EthAccount

from goldengrain.accounts import Account, AccountStore, decode_private_key, read_password
from goldengrain.home import Home
from goldengrain_protocol.eip712 import recover_signer
from goldengrain_protocol.errors import InvalidInput
from goldengrain_protocol.hashing import keccak256

KEY = bytes(range(1, 33))


@pytest.fixture
def store(home: Home) -> AccountStore:
    return AccountStore(home)


def test_created_account_loads_with_its_password(store: AccountStore) -> None:
    made = store.create("alice", "secret", dangerous_light_kdf=True)
    assert store.load("alice", "secret").address == made.address == store.address_of("alice")
    assert [(info.name, info.address) for info in store.list()] == [("alice", made.address)]


def test_keystore_uses_full_scrypt_and_a_private_file(store: AccountStore, home: Home) -> None:
    store.create("alice", "secret")
    path = home.accounts_dir / "alice.json"
    assert json.loads(path.read_bytes())["crypto"]["kdfparams"]["n"] == 2**18
    assert path.stat().st_mode & 0o777 == 0o600


def test_wrong_password_is_named_as_such(store: AccountStore) -> None:
    store.create("alice", "secret", dangerous_light_kdf=True)
    with pytest.raises(InvalidInput, match="wrong password for account 'alice'") as caught:
        store.load("alice", "guess")
    assert caught.value.next_step
    assert "guess" not in str(caught.value)


def test_unknown_account_lists_the_known_ones(store: AccountStore) -> None:
    store.create("alice", "secret", dangerous_light_kdf=True)
    with pytest.raises(InvalidInput, match=r"no account named 'bob' \(known: alice\)") as caught:
        store.load("bob", "secret")
    assert caught.value.next_step == "gg account create bob"


def test_existing_account_is_never_overwritten(store: AccountStore) -> None:
    made = store.create("alice", "secret", dangerous_light_kdf=True)
    with pytest.raises(InvalidInput, match="exists already"):
        store.import_key("alice", KEY, "secret", dangerous_light_kdf=True)
    assert store.address_of("alice") == made.address


def test_imported_key_is_the_same_account(store: AccountStore) -> None:
    imported = store.import_key("alice", decode_private_key("0x" + KEY.hex()), "x", dangerous_light_kdf=True)
    assert imported.checksum == EthAccount.from_key(KEY).address
    assert store.load("alice", "x").dangerous_private_key() == KEY


def test_keystore_of_another_wallet_can_be_imported(store: AccountStore) -> None:
    foreign = json.dumps(EthAccount.encrypt(KEY, "other", kdf="pbkdf2", iterations=1000)).encode()
    with pytest.raises(InvalidInput, match="wrong password"):
        store.import_keystore("alice", foreign, "wrong")
    assert store.import_keystore("alice", foreign, "other").checksum == EthAccount.from_key(KEY).address
    assert store.load("alice", "other").dangerous_private_key() == KEY


@pytest.mark.parametrize(
    "text", ["", "0x", "12", "g" * 64, "0x" + "00" * 31, "0x" + "11" * 33, " ".join(["11"] * 32)]
)
def test_malformed_key_is_refused_without_repeating_it(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        decode_private_key(text)
    assert not text or text not in str(caught.value)


@pytest.mark.parametrize("key", [bytes(32), b"\xff" * 32, b"short"])
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    with pytest.raises(InvalidInput):
        Account.from_private_key(key)


@pytest.mark.parametrize(
    "break_it",
    [
        lambda fields: fields.pop("crypto"),
        lambda fields: fields["crypto"].pop("mac"),
        lambda fields: fields["crypto"]["kdfparams"].update(n=2**30),
        lambda fields: fields["crypto"]["kdfparams"].update(n="many"),
        lambda fields: fields["crypto"].update(kdf="md5"),
        lambda fields: fields.update(version=9),
        lambda fields: fields["crypto"].update(ciphertext="zz"),
        lambda fields: fields.update(address="00" * 20),
        lambda fields: fields.update(address=7),
    ],
)
def test_damaged_keystore_is_invalid_input(
    store: AccountStore, home: Home, break_it: Callable[[dict[str, object]], object]
) -> None:
    store.create("alice", "secret", dangerous_light_kdf=True)
    path = home.accounts_dir / "alice.json"
    fields = json.loads(path.read_bytes())
    break_it(fields)
    path.write_text(json.dumps(fields))
    with pytest.raises(InvalidInput):
        store.load("alice", "secret")


def test_password_comes_from_file_or_prompt(store: AccountStore, tmp_path: Path) -> None:
    store.create("alice", "two words", dangerous_light_kdf=True)
    file = tmp_path / "password"
    file.write_text("two words\n")
    assert store.load("alice", file).name == "alice"
    prompts: list[str] = []

    def ask(prompt: str) -> str:
        prompts.append(prompt)
        return "two words"

    assert store.load("alice", ask).name == "alice"
    assert prompts == ["password of account alice: "]


@pytest.mark.parametrize("content", [b"two\nlines\n", b"\xff", b"x" * 5000])
def test_bad_password_file_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "password"
    file.write_bytes(content)
    with pytest.raises(InvalidInput, match="password file"):
        read_password(file, "")
    with pytest.raises(InvalidInput, match="no such password file"):
        read_password(tmp_path / "absent", "")


def test_empty_password_is_refused(store: AccountStore) -> None:
    with pytest.raises(InvalidInput, match="empty"):
        store.create("alice", "")


def test_account_shows_no_key_and_cannot_be_pickled() -> None:
    account = Account.from_private_key(KEY, "alice")
    assert KEY.hex() not in repr(account) + str(account)
    with pytest.raises(TypeError):
        pickle.dumps(account)


def test_signature_recovers_to_the_account() -> None:
    account = Account.from_private_key(KEY)
    digest = keccak256(b"statement")
    assert recover_signer(digest, account.sign_digest(digest)) == account.address
