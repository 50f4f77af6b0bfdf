"""Every check on a payment, and the attack that only this check stops.

One row, one attack: it is refused for its own reason, nothing moves, nothing is kept of it, and the
same challenge can still be paid as it should be.
"""

import pytest

from mpp_asgi.protocol import Challenge
from tests.charge.attack import PAYLOADS, SPONSORED, UNSPONSORED, Attack, common
from tests.charge.push_attacks import ONLY_PUSH
from tests.charge.sponsored_attacks import ONLY_SPONSORED
from tests.charge.unsponsored_attacks import ONLY_UNSPONSORED
from tests.shop import PRICE, Shop

ATTACKS = [
    *common(SPONSORED),
    *ONLY_SPONSORED,
    *common(UNSPONSORED),
    *ONLY_UNSPONSORED,
    *ONLY_PUSH,
    *PAYLOADS,
]


@pytest.mark.parametrize("attack", ATTACKS, ids=str)
async def test_attack_is_refused(shop: Shop, attack: Attack) -> None:
    payer = shop.payer()
    challenges = await shop.challenges()
    challenge = challenges[0 if attack.mode == SPONSORED else 1]
    credential = attack.forge(payer, challenge)
    sponsor, earned = shop.sponsor_funds(), shop.earned()

    refused = await shop.show(credential)

    assert refused.status_code == 402, refused.text
    problem = refused.json()
    assert problem["type"] == f"https://paymentauth.org/problems/{attack.slug}"
    assert attack.says in problem["detail"]
    assert refused.headers["cache-control"] == "no-store"
    assert "payment-receipt" not in refused.headers
    fresh = Challenge.all_from_headers(refused.headers.get_list("www-authenticate"))
    assert {each.id for each in fresh}.isdisjoint(each.id for each in challenges)
    assert await shop.store.get(challenge.id) is None
    shop.time.now += 3  # were something on its way, it would arrive
    assert (shop.sponsor_funds(), shop.earned()) == (sponsor, earned)
    assert shop.runs == []

    paid = await shop.show(payer.in_mode(attack.mode, challenges))
    assert paid.status_code == 200, paid.text
    assert shop.earned() == earned + PRICE
    assert shop.runs == ["/paid"]
