"""The host alone, over a ledger's state: no transactions, no fees, everybody allows everything."""

from __future__ import annotations

from dataclasses import dataclass, field
from itertools import count
from typing import TYPE_CHECKING

from stellar_sdk import Keypair

from mpp_asgi.sandbox import soroban
from mpp_asgi.sandbox.contract_operations import environment
from mpp_asgi.sandbox.contracts.registry import CONTRACTS
from mpp_asgi.sandbox.genesis import USDC, genesis
from mpp_asgi.sandbox.host.execution import run
from mpp_asgi.sandbox.host.invocation import Host
from mpp_asgi.sandbox.host.storage import Storage
from mpp_asgi.sandbox.network import Moment, Network
from mpp_asgi.sandbox.settings import Settings
from mpp_asgi.sandbox.signatures import Verifier
from mpp_asgi.sandbox.state import Layer, State
from mpp_asgi.sandbox.wire.entries import Account, Trustline
from mpp_asgi.sandbox.wire.operations import InvokeContract
from mpp_asgi.sandbox.wire.values import Address, address_val

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mpp_asgi.sandbox.host.events import Event
    from mpp_asgi.sandbox.wire.entries import Entry
    from mpp_asgi.sandbox.wire.operations import HostFunction
    from mpp_asgi.sandbox.wire.values import Val

NOBODY = Address.account(bytes(32))


@dataclass
class BareHost:
    """Runs host functions one after the other, each in the ledger ``sequence``."""

    network_id: bytes = bytes(32)
    sequence: int = 1_000
    state: State = field(default_factory=State)
    events: list[Event] = field(default_factory=list)
    """What the latest run left."""

    def __post_init__(self) -> None:
        bank = Keypair.from_raw_ed25519_seed(bytes(32))
        self.write(genesis(self.network_id, bank, CONTRACTS.uploaded))
        self._nonces = count()

    def write(self, entries: Iterable[Entry]) -> None:
        layer = Layer(self.state, self.sequence)
        for entry in entries:
            layer.put(entry)
        layer.commit()

    def settle_in(self, *people: Address, usdc: int = 0) -> None:
        """Give people an account and a trustline with some USDC, base units."""
        for who in people:
            account = Account(public_key=who.key, balance=10**9, sequence=0, subentries=1)
            line = Trustline(public_key=who.key, asset=USDC, balance=usdc)
            self.write([account, line])

    @property
    def usdc(self) -> Address:
        return USDC.contract(self.network_id)

    def run(self, function: HostFunction) -> Val:
        """Raises :class:`HostError` where the function fails; then nothing has happened."""
        network = Network(
            network_id=self.network_id,
            settings=Settings(),
            contracts=CONTRACTS,
            verifier=Verifier(),
        )
        layer = Layer(self.state, self.sequence)
        host = Host(
            environment(network, Moment(self.sequence, 0)),
            Storage(layer, self.sequence, network.settings),
            source=NOBODY,
            authorization=None,
            instructions=network.settings.max_instructions,
            allow_non_root=True,
            new_nonce=lambda: next(self._nonces),
        )
        value = run(host, function, ())
        soroban.apply_changes(soroban.changes(host.storage, layer), layer)
        layer.commit()
        self.events = host.events.emitted()
        return value

    def call(self, contract: Address, name: str, *args: Val) -> Val:
        return self.run(InvokeContract(contract, name, tuple(args)))

    def balance(self, who: Address) -> int:
        return int(self.call(self.usdc, "balance", address_val(who)).value)

    def names(self) -> Sequence[str]:
        """What the events of the latest run are called."""
        return [event.topics[0].value for event in self.events]
