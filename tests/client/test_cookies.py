"""Cookies that come with a price go back with the credential: they may say to which node."""

from typing import Any

import httpx

from tests.client.mishaps import busy
from tests.client.shop import Shop


class Cookies:
    """A server before the shop, that sets cookies."""

    def __init__(self, shop: Shop, *cookies: str) -> None:
        self.shop = shop
        self.cookies = list(cookies)
        self.seen: list[str | None] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        self.seen.append(request.headers.get("Cookie"))
        answer = self.shop(request)
        if self.cookies:
            answer.headers["Set-Cookie"] = self.cookies.pop(0)
        return answer


async def test_a_cookie_of_the_price_comes_back(shop: Shop, payer: Any, fetch: Any) -> None:
    server = Cookies(shop, "node=7; Path=/; Secure; HttpOnly")
    assert (await fetch(payer(), server=server)).status_code == 200
    assert server.seen == [None, "node=7"]


async def test_cookies_for_elsewhere_do_not(shop: Shop, payer: Any, fetch: Any) -> None:
    for cookie in ("node=7; Path=/elsewhere", "node=7; Domain=other.test", "node=7; Max-Age=0"):
        server = Cookies(shop, cookie)
        await fetch(payer(), server=server)
        assert server.seen == [None, None]


async def test_the_last_word_counts(shop: Shop, payer: Any, fetch: Any) -> None:
    server = Cookies(shop, "node=7; Path=/", "node=8; Path=/")
    shop.reactions = [busy(503)]
    await fetch(payer(), server=server)
    assert server.seen == [None, "node=7", "node=8"]


async def test_cookies_of_the_request_stay(shop: Shop, payer: Any, fetch: Any) -> None:
    server = Cookies(shop, "node=7; Path=/")
    await fetch(payer(), server=server, headers={"Cookie": "login=me"})
    assert server.seen == ["login=me", "login=me"]


async def test_cookies_of_another_origin_do_not_come_along(
    shop: Shop, payer: Any, fetch: Any
) -> None:
    def elsewhere(request: httpx.Request, credential: Any) -> httpx.Response:
        return httpx.Response(307, headers={"Location": "https://www.shop.test/busy"})

    def server(request: httpx.Request) -> httpx.Response:
        if request.url.host == "www.shop.test":
            return httpx.Response(503, headers={"Set-Cookie": "node=7; Domain=shop.test"})
        return before(request)

    before = Cookies(shop)
    shop.reactions = [elsewhere]
    await fetch(payer(), server=server, follow_redirects=True)
    assert before.seen == [None, None, None]
