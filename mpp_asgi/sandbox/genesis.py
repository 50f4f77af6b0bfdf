"""How a sandbox begins: a bank with all XLM, the issuer of USDC, both tokens' contracts, the code
of other contracts, and the channel factory.
"""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.sandbox.contracts.asset.metadata import asset_instance
from mpp_asgi.sandbox.contracts.factory.contract import factory_instance
from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, FACTORY_WASM_HASH
from mpp_asgi.sandbox.header import TOTAL_COINS
from mpp_asgi.sandbox.ledger import FIRST_LEDGER
from mpp_asgi.sandbox.wire.assets import NATIVE, Asset
from mpp_asgi.sandbox.wire.authorization import ContractIdPreimage
from mpp_asgi.sandbox.wire.entries import Account, ContractCode, ContractData, Ttl
from mpp_asgi.sandbox.wire.values import (
    INSTANCE_KEY,
    Address,
    Executable,
    Instance,
    instance_val,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mpp_asgi.sandbox.wire.entries import Entry

TESTNET_PASSPHRASE = "Test SDF Network ; September 2015"  # noqa: S105 - public, a name
TESTNET_USDC_ISSUER = "GBBD47IF6LWK7P7MDEVSCWR7DPUWV3NY3DTQEVFL4NAT4AQH3ZLLFLA5"
USDC = Asset.issued("USDC", TESTNET_USDC_ISSUER)

NULL_ACCOUNT = bytes(32)
"""``GAAA…WHF``: who clients name as source when they only want to read."""
_STROOPS = 10**7
_FOREVER = 2**32 - 1


def bank_keypair(passphrase: str, seed: int) -> Keypair:
    """The account that friendbot pays from."""
    return Keypair.from_raw_ed25519_seed(
        sha256(f"sandbox bank {passphrase} {seed}".encode()).digest()
    )


def channel_factory(network_id: bytes) -> Address:
    """The channel factory: as if :data:`NULL_ACCOUNT` had deployed it with a salt of zeros."""
    return ContractIdPreimage.of(Address.account(NULL_ACCOUNT), bytes(32)).address(network_id)


def genesis(network_id: bytes, bank: Keypair, uploaded: Mapping[bytes, bytes]) -> list[Entry]:
    """The entries of the first ledger; ``uploaded`` is the code there is, by its hash."""
    helpers = 100 * _STROOPS
    entries: list[Entry] = [
        Account(public_key=NULL_ACCOUNT, balance=helpers, sequence=0),
        Account(public_key=USDC.issuer, balance=helpers, sequence=FIRST_LEDGER << 32),
        Account(
            public_key=bank.raw_public_key(),
            balance=TOTAL_COINS - 2 * helpers,
            sequence=FIRST_LEDGER << 32,
        ),
    ]
    for asset in (NATIVE, USDC):
        entries += asset_entries(asset, network_id)
    for wasm_hash, code in uploaded.items():
        entries += _everlasting(ContractCode(wasm_hash=wasm_hash, code=code))
    factory = factory_instance(
        Executable(FACTORY_WASM_HASH),
        Address.account(bank.raw_public_key()),
        CHANNEL_WASM_HASH,
    )
    return [*entries, *_instance_entries(channel_factory(network_id), factory)]


def asset_entries(asset: Asset, network_id: bytes) -> list[Entry]:
    """The contract of an asset, deployed; it never expires."""
    return _instance_entries(asset.contract(network_id), asset_instance(asset))


def _instance_entries(contract: Address, instance: Instance) -> list[Entry]:
    data = ContractData(contract=contract, name=INSTANCE_KEY, value=instance_val(instance))
    return _everlasting(data)


def _everlasting(entry: ContractCode | ContractData) -> list[Entry]:
    return [entry, Ttl(entry.key, _FOREVER)]
