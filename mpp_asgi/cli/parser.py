"""What can be typed: the commands of ``mpp-asgi`` and their options."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from mpp_asgi.cli import (
    channels,
    checkup,
    friendbot,
    inspection,
    keys,
    payment,
    sandbox,
    sponsor,
    trust,
    version,
)
from mpp_asgi.stellar.sponsor_accounts import MOST_ACCOUNTS

if TYPE_CHECKING:
    from argparse import _SubParsersAction

    from mpp_asgi.cli.terminal import Terminal

    Commands = _SubParsersAction[argparse.ArgumentParser]


def build_parser() -> argparse.ArgumentParser:
    """The parser. What it returns has ``run``, the command's function."""
    parser = argparse.ArgumentParser(
        prog="mpp-asgi", description="Paid APIs by the Machine Payments Protocol, on Stellar."
    )
    parser.add_argument("--version", action="version", version=version.TEXT)
    parser.set_defaults(run=lambda _, terminal: _help(parser, terminal))
    commands = parser.add_subparsers(metavar="command")
    _sandbox(commands)
    _pay(commands)
    _inspect(commands)
    _doctor(commands)
    _channels(commands)
    _sponsor(commands)
    _keys(commands)
    _fund(commands)
    _trust(commands)
    _version(commands)
    return parser


def _help(parser: argparse.ArgumentParser, terminal: Terminal) -> int:
    terminal.say(parser.format_help().rstrip())
    return 0


def _sandbox(commands: Commands) -> None:
    command = commands.add_parser(
        "sandbox",
        help="run a Stellar network of your own",
        description="Runs a Stellar network of your own, with an RPC, funded accounts and a "
        "faucet, until Ctrl-C. Its money is play money.",
    )
    command.add_argument("--host", default="127.0.0.1", help="address to listen at (%(default)s)")
    command.add_argument(
        "--port", type=_port, default=8545, help="port to listen at; 0: any (%(default)s)"
    )
    command.add_argument(
        "--close-interval",
        type=_interval,
        default=0.5,
        metavar="SECONDS",
        help="time from one ledger to the next (%(default)s; the real network takes 5)",
    )
    command.add_argument(
        "--seed", type=int, default=0, help="other accounts for another number (%(default)s)"
    )
    command.add_argument(
        "--state",
        type=Path,
        metavar="FILE",
        help="keep the ledger in a file, and go on from it the next time",
    )
    command.add_argument(
        "--no-admin",
        dest="admin",
        action="store_false",
        help="leave out /admin, by which programs on this machine control the network",
    )
    command.set_defaults(run=sandbox.run)


def _pay(commands: Commands) -> None:
    command = commands.add_parser(
        "pay",
        help="request a URL and pay for it",
        description="Requests a URL, shows its price, and pays after a yes. The body goes to "
        "standard output, everything else to standard error.",
    )
    command.add_argument("url", metavar="URL")
    command.add_argument("--method", help="HTTP method (GET, or POST with --data)")
    command.add_argument(
        "--data", metavar="TEXT", help="request body; @FILE reads it from a file, - from the input"
    )
    command.add_argument(
        "--header",
        action="append",
        default=[],
        metavar="NAME:VALUE",
        help="a further header field; may be repeated (with --data, Content-Type: application/json "
        "unless given)",
    )
    command.add_argument("--budget", default="1.00", help="the most to pay (%(default)s)")
    command.add_argument("--currency", default="USDC", help="what to pay with (%(default)s)")
    command.add_argument(
        "--mode",
        choices=["pull", "push"],
        default="pull",
        help="pull: the server submits the payment; push: this command does (%(default)s)",
    )
    command.add_argument(
        "--own-fee", action="store_true", help="pay the network fee even if the server would"
    )
    command.add_argument("--yes", action="store_true", help="do not ask before paying")
    command.add_argument(
        "--sandbox",
        action="store_true",
        help='pay with play money, from a new account, to an app with network="sandbox"',
    )
    _add_key(command)
    _add_chain(command)
    command.set_defaults(run=payment.run)


def _inspect(commands: Commands) -> None:
    command = commands.add_parser(
        "inspect",
        help="read a challenge, a credential or a receipt",
        description="Says what a challenge, a credential or a receipt means, given as the value "
        "of its header field, or what a URL asks for. Nothing is paid.",
    )
    command.add_argument(
        "text", metavar="TEXT", help="a header field, a URL, or - to read lines from the input"
    )
    command.set_defaults(run=inspection.run)


def _doctor(commands: Commands) -> None:
    command = commands.add_parser(
        "doctor",
        help="check that an app can be paid",
        description="Checks settings, RPC, recipient, sponsor, store and clock. The settings are "
        "the environment's (MPP_...), with those of an app if one is named.",
    )
    command.add_argument(
        "app", metavar="MODULE:APP", nargs="?", help="the app, as uvicorn is told: main:app"
    )
    command.set_defaults(run=checkup.run)


def _channels(commands: Commands) -> None:
    command = commands.add_parser(
        "channels",
        help="see what payment channels owe, and settle it",
        description="What the server has on record of payment channels, and the money in them. "
        "The settings are the environment's (MPP_...), with those of an app if one is named. The "
        "server may run meanwhile.",
    )
    actions = command.add_subparsers(metavar="action", dest="action", required=True)
    listing = actions.add_parser("list", help="every channel that is not closed")
    listing.add_argument("--all", action="store_true", help="those that are closed, too")
    showing = actions.add_parser("show", help="everything about one")
    showing.add_argument("channel", metavar="C...")
    settling = actions.add_parser(
        "settle",
        help="take what is owed out of channels, on the ledger",
        description="Takes what the voucher held for a channel says, even if it is more than was "
        "spent so far. The channel goes on.",
    )
    which = settling.add_mutually_exclusive_group(required=True)
    which.add_argument("channel", metavar="C...", nargs="?")
    which.add_argument(
        "--due",
        action="store_true",
        help="all that the settings (MPP_SETTLE_...) say is due, and all that are about to be "
        "refunded",
    )
    closing = actions.add_parser(
        "close",
        help="take what is owed out of a channel, and give its funder the rest",
        description="Closes a channel whose voucher is for exactly what was spent.",
    )
    closing.add_argument("channel", metavar="C...")
    for action in (listing, showing, settling, closing):
        action.add_argument(
            "--store", metavar="URL", help="the server's records (MPP_STORE, as for the server)"
        )
        action.add_argument(
            "--app", metavar="MODULE:APP", help="the app, as uvicorn is told: main:app"
        )
    command.set_defaults(run=channels.run)


def _sponsor(commands: Commands) -> None:
    command = commands.add_parser(
        "sponsor",
        help="create and see the accounts that pay network fees",
        description="The account that pays network fees for payers, and its channel accounts: so "
        "many sponsored payments can be under way at a time. Their keys are made from the "
        "sponsor's. The settings are the environment's (MPP_...), with those of an app if one is "
        "named. The server may run meanwhile.",
    )
    actions = command.add_subparsers(metavar="action", dest="action", required=True)
    creating = actions.add_parser(
        "create",
        help="put channel accounts on the ledger",
        description="Creates the channel accounts that are missing, with 1 XLM of the sponsor's "
        "each. Those that are there stay as they are.",
    )
    showing = actions.add_parser("status", help="balances, sequence numbers, loans and budget")
    ordering = actions.add_parser(
        "rebalance",
        help="create what is missing, and return to the sponsor what is too much",
        description="Channel accounts pay nothing, so what they have beyond their reserve is "
        "returned to the sponsor.",
    )
    for action in (creating, showing, ordering):
        action.add_argument(
            "--accounts",
            metavar="NUMBER",
            type=_number_of_accounts,
            help="how many channel accounts (MPP_SPONSOR_ACCOUNTS)",
        )
        action.add_argument(
            "--store", metavar="URL", help="the server's records (MPP_STORE, as for the server)"
        )
        action.add_argument(
            "--app", metavar="MODULE:APP", help="the app, as uvicorn is told: main:app"
        )
    command.set_defaults(run=sponsor.run)


def _keys(commands: Commands) -> None:
    command = commands.add_parser(
        "keys",
        help="make a key",
        description="'keys new' makes a key and prints address and secret. It is stored nowhere.",
    )
    command.add_argument("action", choices=["new"])
    command.set_defaults(run=keys.run)


def _fund(commands: Commands) -> None:
    command = commands.add_parser(
        "fund",
        help="create an account on a test network",
        description="Has a test network create an account with 10,000 XLM.",
    )
    command.add_argument("address", metavar="G...")
    _add_chain(command)
    command.set_defaults(run=friendbot.run)


def _trust(commands: Commands) -> None:
    command = commands.add_parser(
        "trust",
        help="let an account hold a token",
        description="Adds a trustline, which an account needs before it can be paid in USDC.",
    )
    command.add_argument(
        "token", metavar="TOKEN", help="USDC, or CODE:G... with the address of its issuer"
    )
    _add_key(command)
    _add_chain(command)
    command.set_defaults(run=trust.run)


def _version(commands: Commands) -> None:
    command = commands.add_parser("version", help="print the version")
    command.set_defaults(run=version.run)


def _add_key(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--key",
        metavar="S...",
        help="secret key that signs; better in the environment as STELLAR_SECRET, since others "
        "on this machine can see arguments",
    )


def _add_chain(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--network",
        help="stellar:testnet or stellar:pubnet (MPP_NETWORK, else stellar:testnet, also for a "
        "sandbox)",
    )
    command.add_argument(
        "--rpc-url",
        metavar="URL",
        help="Stellar RPC (MPP_RPC_URL, else the network's public one)",
    )


def _port(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= 65_535):
        raise argparse.ArgumentTypeError("a port is a number from 0 to 65535")
    return int(text)


def _number_of_accounts(text: str) -> int:
    if not (text.isascii() and text.isdigit() and int(text) <= MOST_ACCOUNTS):
        raise argparse.ArgumentTypeError(f"0 to {MOST_ACCOUNTS} channel accounts")
    return int(text)


def _interval(text: str) -> float:
    try:
        seconds = float(text)
    except ValueError:
        seconds = 0.0
    if not 0.05 <= seconds <= 60:
        raise argparse.ArgumentTypeError("ledgers close every 0.05 to 60 seconds")
    return seconds
