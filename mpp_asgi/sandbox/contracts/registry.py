"""Which contracts the sandbox runs, and under which hash of a Wasm.

No Wasm is run, so a hash is only a name here. The current source of the channel and its factory
have no build that everybody would know by its hash: they go by the hashes of the modules the
sandbox shows for them. The one build of the channel that was published, with the tests of the
factory, is one change older; it goes by its own hash, and closes a channel only once.
"""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from mpp_asgi.sandbox.contracts.asset.contract import FUNCTIONS as ASSET
from mpp_asgi.sandbox.contracts.channel.contract import FUNCTIONS as CHANNEL
from mpp_asgi.sandbox.contracts.channel.contract import PUBLISHED_FUNCTIONS as PUBLISHED_CHANNEL
from mpp_asgi.sandbox.contracts.channel.errors import ChannelError
from mpp_asgi.sandbox.contracts.factory.contract import FUNCTIONS as FACTORY
from mpp_asgi.sandbox.contracts.module import module
from mpp_asgi.sandbox.host.environment import Contracts

_CHANNEL_CODE = module(CHANNEL, ChannelError)
_FACTORY_CODE = module(FACTORY)

CHANNEL_WASM_HASH: Final = sha256(_CHANNEL_CODE).digest()
"""The one-way channel, as its current source has it."""
FACTORY_WASM_HASH: Final = sha256(_FACTORY_CODE).digest()
"""The channel factory."""
PUBLISHED_CHANNEL_WASM_HASH: Final = bytes.fromhex(
    "0a5351b5acae0a2e41f931e47d9c7c90bd157cd0548246e397ac0350498f3710"
)
"""The published build of the one-way channel: refuses to close a channel that is closed."""

CONTRACTS: Final = (
    Contracts(asset=ASSET, by_wasm={})
    .with_wasm(CHANNEL_WASM_HASH, CHANNEL, _CHANNEL_CODE)
    .with_wasm(
        PUBLISHED_CHANNEL_WASM_HASH, PUBLISHED_CHANNEL, module(PUBLISHED_CHANNEL, ChannelError)
    )
    .with_wasm(FACTORY_WASM_HASH, FACTORY, _FACTORY_CODE)
)
