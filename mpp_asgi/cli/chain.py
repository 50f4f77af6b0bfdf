"""Which network a command works on, and the RPC it asks."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from mpp_asgi.cli.terminal import CommandError, printable
from mpp_asgi.stellar.network import TESTNET, UnknownNetworkError, network_named
from mpp_asgi.stellar.rpc import get_network
from mpp_asgi.stellar.rpc_call import RpcError
from mpp_asgi.stellar.rpc_drivers import SyncRpc
from mpp_asgi.stellar.rpc_endpoints import endpoint_names, preferred

if TYPE_CHECKING:
    from argparse import Namespace
    from collections.abc import Mapping

    from mpp_asgi.stellar.network import Network
    from mpp_asgi.stellar.rpc_call import RpcCall

T = TypeVar("T")

NETWORK_VARIABLE = "MPP_NETWORK"
RPC_VARIABLE = "MPP_RPC_URL"


@dataclass(frozen=True, slots=True)
class Chain:
    """A network and one of its nodes."""

    network: Network
    rpc_url: str

    @classmethod
    def chosen(cls, arguments: Namespace, environment: Mapping[str, str] = os.environ) -> Chain:
        """As the arguments say, else the environment.

        Raises:
            CommandError: there is no such network, or no node of it is known.
        """
        name = arguments.network or environment.get(NETWORK_VARIABLE) or TESTNET.name
        if name == "sandbox":  # an app's own, which answers to testnet's name
            name = TESTNET.name
        try:
            network = network_named(name if ":" in name else f"stellar:{name}")
        except UnknownNetworkError as error:
            raise CommandError(str(error)) from None
        rpc_url = arguments.rpc_url or preferred(environment.get(RPC_VARIABLE)) or network.rpc_url
        if rpc_url is None:
            raise CommandError(
                f"{network.name} has no public RPC: get a URL from a provider and add --rpc-url."
            )
        return cls(network, rpc_url)

    def rpc(self) -> SyncRpc:
        """A connection to the node. Close it.

        Raises:
            CommandError: the URL is none.
        """
        try:
            return SyncRpc(self.rpc_url)
        except ValueError as error:
            raise CommandError(str(error)) from None

    def require_right_network(self, rpc: SyncRpc) -> None:
        """See that the node follows the network, before anything is signed for it.

        Raises:
            CommandError: it does not, or cannot be asked.
        """
        if self.ask(rpc, get_network()).passphrase != self.network.passphrase:
            raise CommandError(
                f"The RPC does not follow {self.network.name}: choose another --rpc-url, or "
                "another --network."
            )

    def ask(self, rpc: SyncRpc, call: RpcCall[T]) -> T:
        """What the node answers.

        Raises:
            CommandError: it does not.
        """
        try:
            return rpc.do(call)
        except RpcError as error:
            (name,) = endpoint_names([self.rpc_url])  # the URL may carry a key
            raise CommandError(
                f"The Stellar RPC at {name} is no help: {printable(str(error))}"
            ) from None
