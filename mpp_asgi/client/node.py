"""Which Stellar RPC the payer asks. It has a connection of its own, never the API client's."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any, Final, TypeVar

import httpx

from mpp_asgi.stellar.rpc_call import RpcUnavailableError
from mpp_asgi.stellar.rpc_drivers import (
    AsyncRpc,
    InProcessRpc,
    InProcessSyncRpc,
    SyncRpc,
    checked_url,
)
from mpp_asgi.stellar.rpc_endpoints import preferred

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Mapping

    from mpp_asgi.stellar.network import Network
    from mpp_asgi.stellar.rpc_call import BlockingRpc, Rpc, RpcCall

    Handler = Callable[[dict[str, Any]], Mapping[str, Any]]

T = TypeVar("T")

RPC_URL_VARIABLE: Final = "MPP_RPC_URL"


class Node:
    """A Stellar RPC by its URL, or as a function in this process.

    Connections are made anew for each conversation, so that none outlives an event loop.
    """

    def __init__(self, rpc: str | Handler) -> None:
        """Raises `ValueError` for a text that is no URL."""
        self._rpc = str(checked_url(rpc)) if isinstance(rpc, str) else rpc
        self._ssl: ssl.SSLContext | None = None

    @classmethod
    def chosen(cls, rpc: str | Handler | None, network: Network) -> Node:
        """The one given, else the environment's, else the network's public one.

        Raises:
            ValueError: there is none of these, or its URL is none.
        """
        rpc = rpc or preferred(os.environ.get(RPC_URL_VARIABLE)) or network.rpc_url
        if rpc is None:
            raise ValueError(
                f"There is no public RPC for {network.name}: "
                f"give rpc=, or set {RPC_URL_VARIABLE}, to the URL of one."
            )
        return cls(rpc)

    def blocking(self) -> BlockingRpc:
        """A connection for code without an event loop."""
        if isinstance(self._rpc, str):
            return _NamedSyncRpc(self._rpc, ssl_context=self._trust())
        return InProcessSyncRpc(self._rpc)

    def asynchronous(self) -> Rpc:
        """A connection for code in an event loop."""
        if isinstance(self._rpc, str):
            return _NamedAsyncRpc(self._rpc, ssl_context=self._trust())
        return InProcessRpc(self._rpc)

    def _trust(self) -> ssl.SSLContext:
        """Loading the certificates takes longer than a payment, so it is done once."""
        if self._ssl is None:
            self._ssl = httpx.create_ssl_context()
        return self._ssl


class _NamedSyncRpc(SyncRpc):
    """A node whose errors say which it is."""

    def do(self, call: RpcCall[T]) -> T:
        try:
            return super().do(call)
        except RpcUnavailableError as error:
            error.add_note(_which(self._url))
            raise


class _NamedAsyncRpc(AsyncRpc):
    """The same in an event loop."""

    async def do(self, call: RpcCall[T]) -> T:
        try:
            return await super().do(call)
        except RpcUnavailableError as error:
            error.add_note(_which(self._url))
            raise


def _which(url: httpx.URL) -> str:
    """The host alone: a path or a query may carry a key."""
    host = url.netloc.decode("ascii", "replace")
    return f"It is the one at {host}: rpc= or {RPC_URL_VARIABLE} names another."
