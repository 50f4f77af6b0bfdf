"""``mpp-asgi trust``: an account's trustline for a token."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Asset, Keypair, StrKey
from stellar_sdk.exceptions import AssetCodeInvalidError

from mpp_asgi.cli.chain import Chain
from mpp_asgi.cli.classic import perform
from mpp_asgi.cli.signer import signer
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.accounts import get_account, get_asset, get_trustline

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal
    from mpp_asgi.stellar.rpc_drivers import SyncRpc


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Add the trustline, unless it is there."""
    key = signer(arguments, terminal)
    chain = Chain.chosen(arguments)
    rpc = chain.rpc()
    try:
        chain.require_right_network(rpc)
        asset = _asset(chain, rpc, arguments.token)
        if chain.ask(rpc, get_trustline(key.public_key, asset)) is not None:
            terminal.say(f"{key.public_key} trusts {asset.code} already.")
            return 0
        tx_hash = _trust(chain, rpc, key, asset)
    finally:
        rpc.close()
    terminal.say(f"{key.public_key} trusts {asset.code} of {asset.issuer}.")
    terminal.say(f"transaction {tx_hash}")
    return 0


def _asset(chain: Chain, rpc: SyncRpc, name: str) -> Asset:
    code, _, issuer = name.partition(":")
    token = chain.network.tokens.get(code.upper())
    if not issuer and token is not None:
        asset = chain.ask(rpc, get_asset(token.address))
        if asset is not None and not asset.is_native():
            return asset
        raise CommandError(f"{token.symbol} needs no trustline.")
    if not StrKey.is_valid_ed25519_public_key(issuer):
        raise CommandError("Name the token as USDC, or as CODE:G... with its issuer's address.")
    try:
        return Asset(code, issuer)
    except AssetCodeInvalidError:
        raise CommandError("An asset's code has 1 to 12 letters and digits.") from None


def _trust(chain: Chain, rpc: SyncRpc, key: Keypair, asset: Asset) -> str:
    account = chain.ask(rpc, get_account(key.public_key))
    if account is None:
        raise CommandError(
            f"There is no account {key.public_key} on {chain.network.name} yet: create it with "
            "`mpp-asgi fund`, or send XLM to it."
        )
    return perform(
        chain,
        rpc,
        key,
        lambda builder: builder.append_change_trust_op(asset),
        sequence=account.sequence,
        refusal=(
            "trustline",
            "the account has 0.5 XLM to spare for it, and that the token's issuer exists",
        ),
    )
