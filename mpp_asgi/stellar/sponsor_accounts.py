"""The keys of the sponsor's channel accounts, which need no keeping: the sponsor's makes them.

Account ``i`` (from 0) has the seed HMAC-SHA256(sponsor's seed, ``mpp_asgi channel account`` and
``i`` as 4 bytes, big end first). So the accounts of one sponsor are the same wherever its secret
is, and who has one of their keys knows nothing of the others.
"""

from __future__ import annotations

import hmac
from typing import Final

from stellar_sdk import Keypair

MOST_ACCOUNTS: Final = 200
"""Channel accounts of one sponsor; as many as a node tells of in one answer."""

_PURPOSE: Final = b"mpp_asgi channel account"


def channel_accounts(sponsor: Keypair, count: int) -> tuple[Keypair, ...]:
    """The first ``count`` channel accounts of a sponsor, whose secret key is needed."""
    seed = sponsor.raw_secret_key()
    return tuple(
        Keypair.from_raw_ed25519_seed(
            hmac.digest(seed, _PURPOSE + index.to_bytes(4, "big"), "sha256")
        )
        for index in range(count)
    )
