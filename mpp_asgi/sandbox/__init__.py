"""An embedded Stellar network: ledger, contracts and RPC, in the process or over HTTP.

It speaks testnet's passphrase and token addresses, so that clients that only know testnet work.
"""

from __future__ import annotations

from mpp_asgi.sandbox.faults import AnswerLostError
from mpp_asgi.sandbox.friendbot import FriendbotError
from mpp_asgi.sandbox.genesis import TESTNET_PASSPHRASE
from mpp_asgi.sandbox.sandbox import Sandbox
from mpp_asgi.sandbox.snapshot import Snapshot, SnapshotError
from mpp_asgi.sandbox.state_file import Keeper, StateFileError

__all__ = [
    "TESTNET_PASSPHRASE",
    "AnswerLostError",
    "FriendbotError",
    "Keeper",
    "Sandbox",
    "Snapshot",
    "SnapshotError",
    "StateFileError",
]
