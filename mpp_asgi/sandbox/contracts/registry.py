"""Which contracts the sandbox runs. Another one is one more line in ``by_wasm``."""

from __future__ import annotations

from typing import Final

from mpp_asgi.sandbox.contracts.asset.contract import FUNCTIONS as ASSET_CONTRACT
from mpp_asgi.sandbox.host.environment import Contracts

CONTRACTS: Final = Contracts(asset=ASSET_CONTRACT, by_wasm={})
