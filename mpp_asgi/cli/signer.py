"""The key that signs for a command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.stellar.secret_key import key_from_secret

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from stellar_sdk import Keypair

    from mpp_asgi.cli.terminal import Terminal

SECRET_VARIABLE = "STELLAR_SECRET"  # noqa: S105 # the name of one. Not MPP_...: those are the app's


def signer(
    arguments: Namespace, terminal: Terminal, environment: Mapping[str, str] = os.environ
) -> Keypair:
    """The key to sign with: the argument's, the environment's, or one that is asked for.

    Raises:
        CommandError: there is none, or it is none.
    """
    secret = arguments.key or environment.get(SECRET_VARIABLE) or ""
    if not secret and terminal.asks:
        secret = terminal.secret("Secret key (S...), it is not shown:")
    if not secret:
        raise CommandError(
            f"There is no key to sign with: set {SECRET_VARIABLE} to a secret key, S..., which "
            "`mpp-asgi keys new` makes."
        )
    try:
        return key_from_secret(secret)
    except ValueError as error:
        raise CommandError(str(error)) from None
