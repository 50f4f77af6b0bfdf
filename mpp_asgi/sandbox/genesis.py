"""How a sandbox begins: a bank with all XLM, the issuer of USDC, and both tokens' contracts."""

from __future__ import annotations

from hashlib import sha256
from typing import TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.sandbox.contracts.asset.metadata import asset_instance
from mpp_asgi.sandbox.header import TOTAL_COINS
from mpp_asgi.sandbox.ledger import FIRST_LEDGER
from mpp_asgi.sandbox.wire.assets import NATIVE, Asset
from mpp_asgi.sandbox.wire.entries import Account, ContractData, Ttl
from mpp_asgi.sandbox.wire.values import INSTANCE_KEY, instance_val

if TYPE_CHECKING:
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


def genesis(network_id: bytes, bank: Keypair) -> list[Entry]:
    """The entries of the first ledger."""
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
    return entries


def asset_entries(asset: Asset, network_id: bytes) -> list[Entry]:
    """The contract of an asset, deployed; it never expires."""
    instance = ContractData(
        contract=asset.contract(network_id),
        name=INSTANCE_KEY,
        value=instance_val(asset_instance(asset)),
    )
    return [instance, Ttl(instance.key, _FOREVER)]
