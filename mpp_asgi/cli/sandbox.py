"""``mpp-asgi sandbox``: a Stellar network of one's own, over HTTP."""

from __future__ import annotations

import hashlib
import ipaddress
import signal
import socket
import sys
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from typing import TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.cli.signer import SECRET_VARIABLE
from mpp_asgi.cli.terminal import CommandError
from mpp_asgi.sandbox import Keeper, Sandbox, StateFileError

if TYPE_CHECKING:
    from argparse import Namespace

    from mpp_asgi.cli.terminal import Terminal

PAYER_XLM = 10_000
PAYER_USDC = 1_000


@dataclass(frozen=True, slots=True)
class Cast:
    """The accounts that a sandbox begins with. Play money needs no secrecy, so they are the same
    whenever the seed is."""

    recipient: Keypair
    sponsor: Keypair
    payer: Keypair

    @classmethod
    def for_seed(cls, seed: int) -> Cast:
        def key(role: str) -> Keypair:
            text = f"mpp-asgi sandbox {role} {seed}"
            return Keypair.from_raw_ed25519_seed(hashlib.sha256(text.encode()).digest())

        return cls(key("recipient"), key("sponsor"), key("payer"))


def run(arguments: Namespace, terminal: Terminal) -> int:
    """Serve until a signal."""
    if find_spec("uvicorn") is None:  # an extra: apps bring their own server
        raise CommandError("The sandbox is served by uvicorn: run pip install 'mpp-asgi[server]'.")
    try:
        sandbox = Sandbox(
            close_interval=arguments.close_interval,
            seed=arguments.seed,
            state=arguments.state,
            admin=arguments.admin,
        )
        cast = Cast.for_seed(arguments.seed)
        _fund(sandbox, cast)
        with (
            _listening(arguments.host, arguments.port) as listener,
            _kept(arguments, sandbox, terminal),
        ):
            _introduce(sandbox, cast, _url(listener), arguments, terminal)
            _serve(sandbox, listener, terminal)
    except StateFileError as error:
        raise CommandError(str(error)) from None
    return 0


def _fund(sandbox: Sandbox, cast: Cast) -> None:
    """Set the scene, unless a state file has done so."""
    if sandbox.has_account(cast.recipient.public_key):
        return
    sandbox.fund(cast.recipient.public_key, usdc=0)
    sandbox.fund(cast.sponsor.public_key)
    sandbox.fund(cast.payer.public_key, xlm=PAYER_XLM, usdc=PAYER_USDC)


def _kept(
    arguments: Namespace, sandbox: Sandbox, terminal: Terminal
) -> AbstractContextManager[object]:
    return nullcontext() if arguments.state is None else Keeper(sandbox, terminal.note)


def _serve(sandbox: Sandbox, listener: socket.socket, terminal: Terminal) -> None:
    import uvicorn  # noqa: PLC0415 # an extra, and :func:`run` has seen that it is there

    signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
    config = uvicorn.Config(sandbox.app, log_level="warning", lifespan="off")
    try:
        uvicorn.Server(config).run(sockets=[listener])
    except KeyboardInterrupt:
        terminal.note()


def _listening(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen()
    except OSError as error:
        listener.close()
        raise CommandError(
            f"The sandbox cannot listen at {host} port {port} ({error.strerror}): choose another "
            "--port, or 0 for any."
        ) from None
    return listener


def _url(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    address = ipaddress.ip_address(host)
    if address.is_unspecified:  # everywhere: name the way from this machine
        host = "::1" if address.version == 6 else "127.0.0.1"
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _introduce(
    sandbox: Sandbox, cast: Cast, url: str, arguments: Namespace, terminal: Terminal
) -> None:
    """What a user needs; last what a program waits for."""
    terminal.say("A Stellar network of your own, with play money. Ctrl-C ends it.", style="bold")
    terminal.say()
    terminal.say(f"  RPC      {url}")
    terminal.say(f"  network  {sandbox.passphrase}")
    terminal.say(f"  USDC     {sandbox.usdc}")
    terminal.say(f"  XLM      {sandbox.xlm}")
    terminal.say(f"  faucet   curl -X POST '{url}/faucet?addr=G...&xlm=100&usdc=100'")
    if arguments.admin:
        terminal.say(f"  control  curl -X POST {url}/admin/close")
    if arguments.state is not None:
        terminal.say(f"  state    {arguments.state}, from ledger {sandbox.sequence:,} on")
    terminal.say()
    terminal.say("To sell on it, paste this before you start your app:", style="bold")
    terminal.say()
    for name, value in (
        ("MPP_NETWORK", "stellar:testnet"),
        ("MPP_RPC_URL", url),
        ("MPP_RECIPIENT", cast.recipient.public_key),
        ("MPP_RECIPIENT_SECRET", cast.recipient.secret),
        ("MPP_SPONSOR", cast.sponsor.secret),
        ("MPP_CHANNEL_FACTORY", sandbox.channel_factory),
        ("MPP_CHANNEL_WASM_HASHES", sandbox.channel_wasm_hash),
    ):
        terminal.say(f"  export {name}={value}")
    terminal.say()
    terminal.say(
        f"To buy on it, as an account with {PAYER_XLM:,} XLM and {PAYER_USDC:,} USDC:", style="bold"
    )
    terminal.say()
    terminal.say(f"  export MPP_RPC_URL={url}")
    terminal.say(f"  export {SECRET_VARIABLE}={cast.payer.secret}")
