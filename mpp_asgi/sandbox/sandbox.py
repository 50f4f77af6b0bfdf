"""The sandbox: an embedded Stellar network, in one object."""

from __future__ import annotations

import time
from dataclasses import dataclass
from hashlib import sha256
from math import inf
from pathlib import Path
from random import Random
from threading import Lock, RLock
from typing import TYPE_CHECKING, Any, Literal

from stellar_sdk import Keypair

from mpp_asgi.sandbox.contracts.registry import CHANNEL_WASM_HASH, CONTRACTS
from mpp_asgi.sandbox.face import create_app
from mpp_asgi.sandbox.faults import AnswerLostError
from mpp_asgi.sandbox.friendbot import Friendbot
from mpp_asgi.sandbox.funds import Amount, Funds, base_units
from mpp_asgi.sandbox.genesis import (
    TESTNET_PASSPHRASE,
    USDC,
    bank_keypair,
    channel_factory,
    genesis,
)
from mpp_asgi.sandbox.ledger import Ledger
from mpp_asgi.sandbox.network import Network
from mpp_asgi.sandbox.queue import Status
from mpp_asgi.sandbox.rpc.dispatch import dispatch
from mpp_asgi.sandbox.rpc.node import Node
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.snapshot import Identity, Snapshot, SnapshotError
from mpp_asgi.sandbox.state_file import StateFile
from mpp_asgi.sandbox.wire.assets import NATIVE
from mpp_asgi.sandbox.wire.results import Code
from mpp_asgi.sandbox.wire.values import Address, AddressKind

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from mpp_asgi.sandbox.history import AppliedTransaction
    from mpp_asgi.sandbox.host.environment import Contracts


LAST_LEDGER = 2**32 - 1
_RANDOM_VERSION = 3
"""Of the state of Python's ``Random``."""


@dataclass(slots=True)
class Past:
    """A node that has fallen behind, and how many answers it still gives (``None``: any)."""

    node: Node
    answers: int | None


class Sandbox:
    """An embedded Stellar network.

    The ledger closes every ``close_interval`` seconds of ``clock`` (Unix seconds), or only on
    :meth:`close_ledger` when that is ``None``. Nothing runs in the background: every call first
    closes what is due. Ledgers less than a second apart may share a close time. All methods may be
    called from any thread. The same seed and the same calls give the same ledgers.

    It answers to testnet's passphrase, and its USDC is testnet's: same issuer, same contract
    address. The secret key of that issuer is unknown here as anywhere; USDC is given out by
    :meth:`fund`. A test that needs an issuer's key creates an asset of its own.

    No Wasm runs here: ``contracts`` are written in Python, and stand for a Wasm by its hash. There
    are those of the assets, the one-way channel and its factory;
    ``CONTRACTS.with_wasm(hash, functions)`` has one more.

    With ``state`` it goes on from what :meth:`save` has left in that file, if there is one: time
    has stood still since. Raises :class:`StateFileError` for a file that is not of such a sandbox.
    ``admin`` lets clients on the same machine control it over HTTP.
    """

    def __init__(
        self,
        *,
        close_interval: float | None = 0.5,
        clock: Callable[[], float] = time.time,
        seed: int = 0,
        passphrase: str = TESTNET_PASSPHRASE,
        contracts: Contracts = CONTRACTS,
        state: str | Path | None = None,
        admin: bool = False,
    ) -> None:
        self.passphrase = passphrase
        network_id = sha256(passphrase.encode()).digest()
        self._identity = Identity.of(passphrase, seed, contracts)
        self._clock = clock
        self._lock = RLock()
        self._saving = Lock()
        bank = bank_keypair(passphrase, seed)
        self._ledger = Ledger(
            Network(
                network_id=network_id,
                settings=Settings(),
                contracts=contracts,
                verifier=Verifier(),
            ),
            now=clock(),
            close_interval=close_interval,
            genesis=genesis(network_id, bank, contracts.uploaded),
        )
        self._random = Random(seed)  # noqa: S311 - nonces must differ, not be secret
        self._node = self._node_of(self._ledger)
        self._past: Past | None = None
        self._funds = Funds(self._ledger, bank.raw_public_key())
        self._friendbot = Friendbot(self._ledger, bank, passphrase)
        self.app: ASGIApp = create_app(self, admin=admin)
        """The HTTP face: JSON-RPC at ``/``, ``/friendbot?addr=``, ``/faucet?addr=&usdc=&xlm=``,
        and with ``admin`` what is described in :mod:`mpp_asgi.sandbox.admin`.
        """
        self.usdc = str(USDC.contract(network_id))
        """The contract of USDC (``C…``)."""
        self.xlm = str(NATIVE.contract(network_id))
        """The contract of XLM (``C…``)."""
        self.channel_factory = str(channel_factory(network_id))
        """The contract (``C…``) that opens one-way channels; its administrator is the bank."""
        self.channel_wasm_hash = CHANNEL_WASM_HASH.hex()
        """The Wasm hash of the channels that the factory opens."""
        self.usdc_issuer = Keypair.from_raw_ed25519_public_key(USDC.issuer)
        """The issuer of USDC; a public key only, it cannot sign."""
        self._file = None if state is None else StateFile(Path(state))
        if self._file is not None:
            self._load(self._file)

    def rpc(self, request: dict[str, Any]) -> dict[str, Any]:
        """Answer one JSON-RPC request, whatever it is.

        Raises :class:`AnswerLostError` where :meth:`lose_next_answer` ordered that.
        """
        with self._lock:
            self._node.advance()
            method = request.get("method") if isinstance(request, dict) else None
            answer = dispatch(self._node_for(method), request)
            if self._node.faults.is_lost(method):
                raise AnswerLostError(f"the answer to {method} is lost")
            return answer

    def friendbot(self, address: str) -> AppliedTransaction:
        """Create an account with 10,000 XLM by a transaction of its own, applied at once.

        Raises :class:`FriendbotError`, for one when the account exists already.
        """
        with self._lock:
            self._node.advance()
            return self._friendbot.create(address, self._clock())

    def fund(self, address: str, *, xlm: Amount = 10_000, usdc: Amount = 0) -> None:
        """Give an account (``G…``) XLM and USDC, in whole tokens, at once.

        Creates the account and opens the trustline (for 0 USDC, too) as applied operations would
        have left them. Raises ``ValueError`` for what is no account, no amount, or less XLM than
        such an account must hold.
        """
        account = Address.parse(address)
        if account.kind != AddressKind.ACCOUNT:
            raise ValueError(f"{address} is not an account (G…)")
        stroops, units = base_units(xlm), base_units(usdc)
        with self._lock:
            self._node.advance()
            self._funds.give(account, USDC, xlm=stroops, units=units)

    def has_account(self, address: str) -> bool:
        """Whether the account (``G…``) exists."""
        with self._lock:
            self._node.advance()
            return self._funds.has_account(Address.parse(address))

    def balance(self, address: str, token: str) -> int:
        """What an address holds of a token (its contract, ``C…``), in base units."""
        owner = Address.parse(address).demuxed()
        with self._lock:
            self._node.advance()
            return self._funds.balance(owner, Address.parse(token))

    @property
    def sequence(self) -> int:
        """The latest closed ledger."""
        with self._lock:
            self._node.advance()
            return self._ledger.sequence

    @property
    def close_time(self) -> int:
        """When that closed, in Unix seconds."""
        with self._lock:
            self._node.advance()
            return self._ledger.close_time

    @property
    def close_interval(self) -> float | None:
        """Seconds from one ledger to the next; ``None``: they close on demand."""
        return self._ledger.interval

    @property
    def is_frozen(self) -> bool:
        return self._ledger.is_frozen

    @property
    def is_behind(self) -> bool:
        """Whether answers come from an older ledger: see :meth:`fall_behind`."""
        return self._past is not None

    @property
    def revision(self) -> int:
        """A number that grows whenever an entry of the ledger has changed."""
        with self._lock:
            self._node.advance()
            return self._ledger.revision

    # Control, for tests and demos

    def close_ledger(self, count: int = 1) -> int:
        """Close ledgers now; returns the latest sequence.

        The clock stands still meanwhile, and however many they are, it takes no time. What waits
        gets into the first of them. Raises ``ValueError`` beyond the last ledger there can be.
        """
        with self._lock:
            self._node.advance()
            if not 0 <= count <= LAST_LEDGER - self._ledger.sequence:
                raise ValueError(f"{count} ledgers cannot be closed")
            self._ledger.close(self._clock(), count)
            return self._ledger.sequence

    def set_close_interval(self, seconds: float | None) -> None:
        """Close a ledger every so many seconds from now on; ``None``: only on demand.

        Raises ``ValueError`` for what is no positive number of seconds.
        """
        if seconds is not None and not 0 < seconds < inf:
            raise ValueError(f"{seconds} is no time between ledgers")
        with self._lock:
            self._node.advance()
            self._ledger.set_interval(seconds, self._clock())

    def freeze(self) -> None:
        """Close no ledger by itself until :meth:`thaw`; submitted transactions wait.

        ``getHealth`` is an error once the latest ledger is 30 seconds old.
        """
        with self._lock:
            self._node.advance()
            self._ledger.freeze()

    def thaw(self) -> None:
        """Go on closing ledgers; the next one is due one interval from now."""
        with self._lock:
            self._ledger.thaw(self._clock())

    def refuse_next_submit(
        self,
        status: Literal["TRY_AGAIN_LATER", "DUPLICATE", "ERROR"],
        *,
        code: int = Code.BAD_SEQ,
        times: int = 1,
    ) -> None:
        """Answer the next submissions with ``status`` instead of taking the transaction.

        ``code`` is the transaction's result code that goes with ``ERROR``.
        """
        with self._lock:
            self._node.faults.refuse_submit(Status(status), Code(code), times)

    def lose_next_answer(self, method: str = "sendTransaction", *, times: int = 1) -> None:
        """Carry out the next calls of ``method``, but let their answers get lost.

        Over HTTP the caller gets a 504; :meth:`rpc` raises :class:`AnswerLostError`.
        """
        with self._lock:
            self._node.faults.lose_answer(method, times)

    def delay_next_submit(self, ledgers: int, *, times: int = 1) -> None:
        """Take the next transactions, but leave them out of the next ``ledgers`` ledgers.

        From four on they are never included: that is how long a transaction may wait.
        """
        with self._lock:
            self._node.faults.delay_submit(ledgers, times)

    def fall_behind(self, *, times: int | None = None) -> None:
        """Answer from the present ledger on and on, while the network goes ahead.

        That is what a node does that cannot keep up. Submissions still reach the network.
        ``getHealth`` is an error once that ledger is 30 seconds old. It ends with
        :meth:`catch_up`, or after as many calls as ``times`` says.
        """
        with self._lock:
            self._node.advance()
            network = self._ledger.network
            past = Ledger(network, now=0, close_interval=None, genesis=())
            past.resume(self._ledger.standing(), self._clock())
            past.freeze()
            self._past = Past(self._node_of(past), times)

    def catch_up(self) -> None:
        """Answer from the latest ledger again."""
        with self._lock:
            self._past = None

    def snapshot(self) -> Snapshot:
        """The ledger as it is, for :meth:`restore`; takes milliseconds."""
        with self._lock:
            self._node.advance()
            _, randomness, _ = self._random.getstate()
            return Snapshot(self._identity, randomness, self._ledger.standing())

    def restore(self, snapshot: Snapshot) -> None:
        """Go back to a snapshot, of this sandbox or of one made alike.

        Nothing waits for the next ledger then, and none answers from an older one; the interval,
        being frozen, and ordered faults stay. The first ledger is due one interval from now: no
        time has passed since the snapshot. Raises :class:`SnapshotError` if it is of another
        network, seed or set of contracts.
        """
        self._identity.require_same(snapshot.identity)
        with self._lock:
            self._past = None
            self._random.setstate((_RANDOM_VERSION, snapshot.randomness, None))
            self._ledger.resume(snapshot.standing, self._clock())

    def save(self) -> None:
        """Write a snapshot to the ``state`` file, all of it or nothing.

        Raises :class:`StateFileError` if that fails, ``ValueError`` if there is no such file.
        """
        if self._file is None:
            raise ValueError("this sandbox has no state file")
        with self._saving:
            self._file.save(self.snapshot())

    def _load(self, file: StateFile) -> None:
        saved = file.load()
        if saved is None:
            return
        try:
            self.restore(saved)
        except SnapshotError as error:
            raise file.refused(error) from None

    def _node_of(self, ledger: Ledger) -> Node:
        return Node(ledger, passphrase=self.passphrase, clock=self._clock, random=self._random)

    def _node_for(self, method: object) -> Node:
        """Who answers: the node, or what it was when it fell behind."""
        past = self._past
        if past is None or method == "sendTransaction":
            return self._node
        if past.answers is not None:
            past.answers -= 1
            if past.answers <= 0:
                self._past = None
        return past.node
