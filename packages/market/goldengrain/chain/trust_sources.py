"""Where a deployment's chain-trust evidence comes from, by its address book."""

from goldengrain.chain.address_book import AddressBook
from goldengrain.chain.proofs import DevPinnedSource, TrustSource
from goldengrain.chain.witness_client import WitnessCollector
from goldengrain.home import Home
from goldengrain_protocol.config import ETHEREUM_POS, WITNESS_QUORUM
from goldengrain_protocol.hashing import keccak256
from goldengrain_protocol.proofs import DevPinned
from goldengrain_protocol.proofs.witness_quorum import WitnessQuorum


def trust_source(book: AddressBook, home: Home) -> TrustSource:
    """Return the source of evidence for the book's chain-trust mode; keep it, it remembers.

    Raises:
        InvalidInput: a mode or checkpoint that does not fit, or too few endpoints.
    """
    entry = book.chain_trust
    checkpoint = book.enclave_config().chain_trust.checkpoint
    if entry.mode == WITNESS_QUORUM:
        return WitnessCollector(WitnessQuorum.from_checkpoint(checkpoint), entry.endpoints)
    if entry.mode == ETHEREUM_POS:
        # Loads the pairing library.
        from goldengrain.chain.beacon import BeaconFollower
        from goldengrain_protocol.proofs.ethereum_pos import EthereumPos

        directory = home.ensure(home.root / "beacon" / keccak256(checkpoint).hex()[:16])
        return BeaconFollower(EthereumPos.from_checkpoint(checkpoint), entry.endpoints, directory=directory)
    return DevPinnedSource(DevPinned.from_checkpoint(checkpoint))
