"""Channels in an attack: opened, paid from, and closed, so that the ledger says what was paid."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from stellar_sdk import Keypair

from mpp_asgi.protocol import Receipt
from tests.attacks.scene import Wants
from tests.session.drawer import CALL, Funder, session_challenge

if TYPE_CHECKING:
    from mpp_asgi.protocol import Challenge, Credential
    from tests.attacks.scene import Scene
    from tests.attacks.wire import Answer


class HttpFunder(Funder):
    """Somebody with a channel, who deals with a server by HTTP."""

    def __init__(self, scene: Scene, number: int = 1) -> None:
        super().__init__(scene.market, number)  # type: ignore[arg-type] # all that it asks is here
        self.scene = scene
        self._salt = scene.random.randbytes(32)
        self.key = Keypair.from_raw_ed25519_seed(scene.random.randbytes(32))

    async def begin(self, *, calls: int = 1, **how: Any) -> Challenge:
        """Open the channel with a voucher for so many calls, of which the first is served."""
        challenge = await self.challenge()
        opening = await self.scene.by_hand(lambda: self.open(challenge, calls * CALL, **how))
        self.scene.channels.add(self.channel)
        answer = await self.scene.show(opening)
        if answer.status != 200:
            raise AssertionError(f"no channel: {answer.status} {answer.text}")
        return challenge

    async def call(self, challenge: Challenge, amount: int, **request: Any) -> Answer:
        """Show a voucher for so much."""
        return await self.scene.show(self.voucher(challenge, amount), **request)

    async def finish(self, challenge: Challenge, spent: int) -> None:
        """Close at what was spent: the ledger takes it and gives back the rest."""
        closing = self.voucher(challenge, spent, action="close")
        answer = await self.scene.show(closing, wants=Wants.REFUSED)
        if answer.status != 204:
            self.scene.tally.overcharge(
                f"a close at what was spent ({spent}) is refused: {answer.text[:200]}"
            )


def spent_by(answer: Answer) -> int:
    """What the receipt says was spent, in base units."""
    value = answer.value("payment-receipt")
    return int(Receipt.from_header(value).extra["spent"]) if value else 0


async def offer(scene: Scene, path: str = "/paid", **request: Any) -> Challenge:
    return session_challenge(await scene.challenges(path, **request))


async def all_refused(scene: Scene, *credentials: Credential) -> None:
    for each in credentials:
        await scene.refused(each)
