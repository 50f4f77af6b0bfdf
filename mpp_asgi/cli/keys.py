"""``mpp-asgi keys``: where accounts begin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from stellar_sdk import Keypair

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal


def run(_: Namespace, terminal: Terminal) -> int:
    """Make a key. Its secret is the result; no other command prints one that guards real money."""
    key = Keypair.random()
    terminal.say(f"address  {key.public_key}")
    terminal.say(f"secret   {key.secret}")
    terminal.note()
    terminal.note("Whoever has the secret has the account: keep it where you keep passwords.")
    return 0
