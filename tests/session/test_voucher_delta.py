"""The least by which a voucher is raised: set in whole tokens, asked for in base units."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from mpp_asgi import ConfigError
from mpp_asgi.config import read_settings
from mpp_asgi.stellar.settlement import settle_now
from tests.session.drawer import CALL, Drawer, Funder, open_session_shop, problem_of, till_of
from tests.session.stand import ENTRY, UNIT, open_stand

if TYPE_CHECKING:
    from tests.shop import Shop

DELTA = CALL // 10


async def challenged_with(shop: Shop) -> str:
    challenge = await Drawer.challenge(Funder(shop, 1))
    delta: str = challenge.request_object()["methodDetails"]["minVoucherDelta"]
    return delta


@pytest.mark.parametrize(
    ("said", "asked"),
    [("0", "0"), ("0.001", "10000"), ("0.0000001", "1"), ("0.00000001", "1"), (2, "20000000")],
)
async def test_it_is_set_in_whole_tokens(said: object, asked: str) -> None:
    async with open_session_shop(min_voucher_delta=said) as shop:
        assert await challenged_with(shop) == asked


def test_it_is_none_unless_it_is_set() -> None:
    assert read_settings({"network": "sandbox"}, {}).min_voucher_delta == 0


@pytest.mark.parametrize("said", ["-1", "nan", "inf", "much"])
def test_it_is_an_amount(said: str) -> None:
    with pytest.raises(ConfigError, match="MPP_MIN_VOUCHER_DELTA"):
        read_settings({"network": "sandbox"}, {"MPP_MIN_VOUCHER_DELTA": said})


async def test_what_is_asked_for_is_no_less() -> None:
    async with open_session_shop(min_voucher_delta="0.001") as shop:
        drawer = await Drawer.on_record(shop)
        challenge = await drawer.challenge()
        assert (await drawer.pay(challenge, 2 * CALL - 1)).status_code == 200
        short = await drawer.pay(challenge, 2 * CALL - 1)  # by one base unit
        assert problem_of(short) == (402, "session/insufficient-balance")
        assert short.json()["requiredTopUp"] == str(DELTA)
        hardly = await drawer.pay(challenge, 2 * CALL)
        assert problem_of(hardly) == (402, "session/delta-too-small")
        assert (await drawer.pay(challenge, 2 * CALL - 1 + DELTA)).status_code == 200


async def test_a_settled_voucher_is_raised_by_no_less() -> None:
    async with open_session_shop(min_voucher_delta="0.001") as shop:
        funder = Funder(shop, 1)
        challenge = await funder.challenge()
        assert (await shop.show(funder.open(challenge, 5 * CALL))).status_code == 200
        await settle_now(shop.store, till_of(shop.app).cashier, funder.channel)
        stolen = await funder.pay(challenge, 5 * CALL)
        assert stolen.json()["requiredTopUp"] == str(DELTA)
        assert (await funder.pay(challenge, 5 * CALL + DELTA)).status_code == 200


async def test_a_stream_asks_for_no_less() -> None:
    async with open_stand(min_voucher_delta="0.001") as stand:
        drawer = await stand.drawer()
        challenge = await drawer.challenge("/tokens")
        line = stand.listen(drawer.voucher(challenge, ENTRY).to_header())
        assert DELTA > UNIT
        stand.source.give("one")
        asked = await line.hears(1)
        assert asked.name == "payment-need-voucher"
        assert f'"requiredCumulative":"{ENTRY + DELTA}"' in asked.data
        line.hang_up()
        await line.end()
