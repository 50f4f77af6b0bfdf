"""A short run under fire over each store that several processes can share."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.kill.battle import Plan, fight
from tests.servers import running_network

if TYPE_CHECKING:
    from pathlib import Path

PLAN = Plan(seconds=6, every=1.5, buyers=3, members=2, workers=2, accounts=4, seed=1)


async def test_what_is_killed_loses_nothing_and_gives_nothing_away(
    url: str, tmp_path: Path
) -> None:
    # An authorization is good for sixty ledgers: here a minute, in which any server is back.
    with running_network(close_interval=1) as network:
        account = await fight(network, url, tmp_path, PLAN)
    print(*account.lines(), sep="\n")
    assert account.wrong() == {}
    assert min(account.kills, account.charges, account.calls) > 0
