"""The forged payments of the tests in one process, shown to a server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from tests.attacks.variant import attack
from tests.charge.attack import SPONSORED, Attack

if TYPE_CHECKING:
    from collections.abc import Iterable

    from tests.attacks.scene import Scene

EVERY = 7
"""One of so many is part of the shortened form."""


def put_on_list(row: str, forgeries: Iterable[Attack]) -> None:
    for number, forgery in enumerate(forgeries):
        _put(row, forgery, short=None if number % EVERY == 0 else 0)


def _put(row: str, forgery: Attack, *, short: int | None) -> None:
    @attack(row, str(forgery), short=short)
    async def show(scene: Scene) -> None:
        """Shown, shown again, and shown where it is settled after the endpoint ran."""
        payer = await scene.payer()
        for path in ("/paid", "/after"):
            challenges = await scene.challenges(path)
            challenge = challenges[0 if forgery.mode == SPONSORED else 1]
            credential = await scene.by_hand(lambda: forgery.forge(payer, challenge))  # noqa: B023
            for _ in range(2):
                await scene.refused(credential, path)
            if forgery.mode != SPONSORED:
                break  # what was pushed once is on the ledger
