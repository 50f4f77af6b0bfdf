"""A5, A6: payments for something else, and for other terms."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from benchmarks.peers.variant import attack

if TYPE_CHECKING:
    from benchmarks.peers.bout import Bout

Request = dict[str, Any]


def asked(path: str, **rest: Any) -> Request:
    return {"path": path, **rest}


GOLD = [("X-Plan", "gold")]
DEARER: dict[str, tuple[Request, Request]] = {
    "a dearer path": (asked("/paid"), asked("/dear")),
    "a dearer query": (asked("/sizes?size=small"), asked("/sizes?size=large")),
    "a dearer query, twice in it": (
        asked("/sizes?size=small"),
        asked("/sizes?size=small&size=large"),
    ),
    "a dearer field": (asked("/plans"), asked("/plans", fields=GOLD)),
}
OTHERS: dict[str, tuple[Request, Request]] = {
    "another path": (asked("/paid"), asked("/twin")),
    "another path parameter": (asked("/items/a"), asked("/items/b")),
    "another file": (asked("/shelf/a.txt"), asked("/shelf/b.txt")),
    "another query": (asked("/items/a?page=1"), asked("/items/a?page=2")),
    "another method": (asked("/any"), asked("/any", method="DELETE")),
    "a body where there was none": (
        asked("/any", method="POST", body=b""),
        asked("/any", method="POST", body=b"buy a thousand"),
    ),
    "another body": (
        asked("/any", method="POST", body=b"buy one"),
        asked("/any", method="POST", body=b"buy a thousand"),
    ),
}


def _put(name: str, paid: Request, shown: Request, what: str) -> None:
    @attack("A5", f"{what}: {name}", times=5)
    async def elsewhere(bout: Bout) -> None:
        for _ in range(bout.times):
            proof = await bout.proof(**paid)
            await bout.show(proof, **shown, is_meant=False)
            if not proof.purse.served:
                await bout.redeem(proof, **paid)


for _name, _pair in DEARER.items():
    _put(_name, *_pair, what="pay cheap, take dear")
for _name, _pair in OTHERS.items():
    _put(_name, *_pair, what="pay one, take another at the same price")


@attack("A6", "other terms than were asked for", times=3)
async def forged(bout: Bout) -> None:
    """One payer for each; what is no matter may be served, and is paid then."""
    for _ in range(bout.times):
        for name, forge in bout.seller.forgeries().items():
            for path in ("/paid", "/plain"):
                proof = await bout.pay(await bout.demand(path), await bout.purse(200), forge)
                before = bout.count.leaked
                for _ in range(2):
                    await bout.show(proof, path)
                if bout.count.leaked > before:
                    bout.count.note(name)
