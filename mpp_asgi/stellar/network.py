"""The Stellar networks an app can sell on: their names, passphrases and well-known tokens."""

from __future__ import annotations

from dataclasses import dataclass
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Final, Literal

from stellar_sdk import Network as _Passphrase

if TYPE_CHECKING:
    from collections.abc import Mapping

NetworkName = Literal["stellar:testnet", "stellar:pubnet"]
"""A CAIP-2 chain identifier, as ``methodDetails.network`` carries it."""

LEDGER_SECONDS: Final = 5
"""DEFAULT_LEDGER_CLOSE_TIME of draft-stellar-charge: seconds from one ledger to the next."""
CHALLENGE_SECONDS: Final = 300
"""How long challenges are good, unless the seller says otherwise."""


class UnknownNetworkError(ValueError):
    """The name is not that of a network; the message suggests one that is."""


@dataclass(frozen=True, slots=True)
class Token:
    """A SEP-41 token: the address of its contract (``C…``) and how its amounts are scaled."""

    address: str
    symbol: str
    decimals: int = 7


@dataclass(frozen=True, slots=True)
class Network:
    """A Stellar network."""

    name: NetworkName
    passphrase: str
    rpc_url: str | None
    """An RPC that anyone may use, or ``None`` where there is none to rely on."""
    tokens: Mapping[str, Token]
    """Well-known tokens by symbol."""

    def token_at(self, address: str) -> Token | None:
        """The well-known token whose contract is ``address`` (``C…``)."""
        return next((token for token in self.tokens.values() if token.address == address), None)


def _tokens(*tokens: Token) -> Mapping[str, Token]:
    return MappingProxyType({token.symbol: token for token in tokens})


TESTNET: Final = Network(
    name="stellar:testnet",
    passphrase=_Passphrase.TESTNET_NETWORK_PASSPHRASE,
    rpc_url="https://soroban-testnet.stellar.org",
    tokens=_tokens(
        Token("CDLZFC3SYJYDZT7K67VZ75HPJVIEUVNIXF47ZG2FB2RMQQVU2HHGCYSC", "XLM"),
        Token("CBIELTK6YBZJU5UP2WWQEUCYKLPU6AUNZ2BQ4WWFEIE3USCIHMXQDAMA", "USDC"),
    ),
)

PUBNET: Final = Network(
    name="stellar:pubnet",
    passphrase=_Passphrase.PUBLIC_NETWORK_PASSPHRASE,
    rpc_url=None,
    tokens=_tokens(
        Token("CAS3J7GYLGXMF6TDJBBYYSE3HQ6BBSMLNUQ34T6TZMYMW2EVH34XOWMA", "XLM"),
        Token("CCW67TSZV3SSS2HXMBQ5JFGCKJNXKZM7UQUWUZPUTHXSTZLEO7SJMI75", "USDC"),
    ),
)

NETWORKS: Final[Mapping[str, Network]] = MappingProxyType(
    {network.name: network for network in (TESTNET, PUBNET)}
)

_SPOKEN: Final = {
    "testnet": TESTNET.name,
    "pubnet": PUBNET.name,
    "public": PUBNET.name,
    "mainnet": PUBNET.name,
}


def network_named(name: str) -> Network:
    """The network called ``name``.

    Raises:
        UnknownNetworkError: there is none of that name.
    """
    if network := NETWORKS.get(name):
        return network
    if name == "sandbox":
        raise UnknownNetworkError(
            "For payers a sandbox is 'stellar:testnet' at another address: leave network= out, and "
            'write rpc="http://127.0.0.1:8000/.mpp/sandbox" for one inside an app.'
        )
    spoken = name.strip().lower().removeprefix("stellar:")
    close = get_close_matches(spoken, _SPOKEN, n=1)
    advice = (
        f"did you mean {_SPOKEN[close[0]]!r}?"
        if close
        else f"choose {' or '.join(repr(known) for known in NETWORKS)}."
    )
    raise UnknownNetworkError(f"There is no network called {name!r}; {advice}")
