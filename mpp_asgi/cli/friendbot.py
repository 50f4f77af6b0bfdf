"""``mpp-asgi fund``: an account on a test network, from its friendbot."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
from stellar_sdk import StrKey

from mpp_asgi.cli.chain import Chain
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.accounts import get_account
from mpp_asgi.stellar.rpc_call import Fields, RpcCall

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal

_SECONDS = 60.0
"""Friendbot answers when the ledger has closed."""


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Have the account created, unless it is there."""
    address = arguments.address
    if not StrKey.is_valid_ed25519_public_key(address):
        raise CommandError("That is not the address of an account, G...; `keys new` makes one.")
    chain = Chain.chosen(arguments)
    rpc = chain.rpc()
    try:
        chain.require_right_network(rpc)
        if chain.ask(rpc, get_account(address)) is not None:
            terminal.say(f"{address} is there already.")
            return 0
        _request(chain.ask(rpc, _get_friendbot()), address)
        account = chain.ask(rpc, get_account(address))
    finally:
        rpc.close()
    if account is None:
        raise CommandError("Friendbot took the request; look again when a ledger has closed.")
    terminal.say(f"{address} has {account.balance // 10_000_000:,} XLM.")
    return 0


def _get_friendbot() -> RpcCall[str | None]:
    def parse(answer: Fields) -> str | None:
        return answer.text_or_none("friendbotUrl")

    return RpcCall("getNetwork", {}, parse)


def _request(url: str | None, address: str) -> None:
    if not url:
        raise CommandError("This network has no friendbot: send XLM to the address to create it.")
    try:
        answer = httpx.get(url, params={"addr": address}, timeout=_SECONDS, follow_redirects=True)
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise CommandError(
            f"Friendbot does not answer ({type(error).__name__}): try again later."
        ) from None
    if answer.is_error:
        raise CommandError(
            f"Friendbot refused with HTTP {answer.status_code}: try again later, or another key."
        )
