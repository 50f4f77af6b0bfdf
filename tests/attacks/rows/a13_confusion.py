"""A13: requests that a cache, a proxy, the router and the price might understand differently."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from tests.attacks.scene import Wants
from tests.attacks.variant import attack
from tests.attacks.wire import HANDSHAKE

if TYPE_CHECKING:
    from tests.attacks.scene import Scene

ROUTES = ("/paid", "/dear", "/items/a", "/after", "/stream", "/plain", "/shelf/a.txt", "/any",
          "/sizes", "/download", "/members", "/charged", "/vault/dear.txt",
          "/relay/dear", "/inner/nested/goods", "/wing/goods", "/kiosk/goods")  # fmt: skip


def _before_last(path: str, what: str) -> str:
    place = path.rindex("/")
    return path[:place] + what + path[place:]


SPELLINGS = {
    "as it is": lambda p: p,
    "two slashes": lambda p: p.replace("/", "//"),
    "a slash at the end": lambda p: p + "/",
    "slashes at the end": lambda p: p + "///",
    "a dot": lambda p: "/." + p,
    "a dot before its last part": lambda p: _before_last(p, "/."),
    "a slash before its last part": lambda p: _before_last(p, "/"),
    "dots before its last part": lambda p: _before_last(p, "/x/.."),
    "escaped dots before its last part": lambda p: _before_last(p, "/x/%2e%2e"),
    "a parameter before its last part": lambda p: _before_last(p, ";a=1"),
    "dots": lambda p: "/x/.." + p,
    "dots at the end": lambda p: p + "/x/..",
    "escaped dots": lambda p: "/%2e" + p,
    "two escaped dots": lambda p: "/x/%2e%2e" + p,
    "twice escaped dots": lambda p: "/x/%252e%252e" + p,
    "the first letter escaped": lambda p: f"/%{ord(p[1]):02x}{p[2:]}",
    "the last letter escaped": lambda p: f"{p[:-1]}%{ord(p[-1]):02X}",
    "all escaped": lambda p: "/" + "".join(f"%{ord(c):02x}" for c in p[1:]),
    "an escaped slash": lambda p: "/" + p[1:].replace("/", "%2f"),
    "a leading escaped slash": lambda p: "/%2f" + p[1:],
    "twice escaped": lambda p: f"/%25{ord(p[1]):02x}{p[2:]}",
    "the last letter twice escaped": lambda p: f"{p[:-1]}%25{ord(p[-1]):02X}",
    "overlong": lambda p: p.replace("/", "%c0%af", 1),
    "upper case": str.upper,
    "one upper case": lambda p: p[:1] + p[1].upper() + p[2:],
    "a semicolon": lambda p: p + ";",
    "a parameter": lambda p: p + ";a=1",
    "a parameter in front": lambda p: "/;a=1" + p,
    "a NUL": lambda p: p + "%00",
    "a NUL and a name": lambda p: p + "%00.html",
    "a space": lambda p: p + "%20",
    "a tab within": lambda p: f"{p[:-1]}%09{p[-1]}",
    "a tab": lambda p: p + "%09",
    "a line break": lambda p: p + "%0a",
    "a line break and a field": lambda p: p + "%0d%0aX-Paid:%20yes",
    "a backslash": lambda p: p.replace("/", "\\"),
    "an escaped backslash": lambda p: p.replace("/", "%5c"),
    "a fragment": lambda p: p + "#x",
    "an escaped question mark": lambda p: p + "%3f",
    "an escaped fragment": lambda p: p + "%23x",
    "a question mark": lambda p: p + "?",
    "two question marks": lambda p: p + "??",
    "a query": lambda p: p + "?paid=true",
    "an extension": lambda p: p + ".json",
    "an extension of a picture": lambda p: p + "/x.png",
    "an extension after a semicolon": lambda p: p + ";.css",
    "unicode that looks alike": lambda p: p.replace("a", "%d0%b0"),
    "fullwidth": lambda p: p.replace("/", "%ef%bc%8f"),
    "a URL": lambda p: "http://shop.test" + p,
    "a URL of somebody else": lambda p: "http://evil.test" + p,
    "a URL with a user": lambda p: "http://a:b@shop.test" + p,
    "two slashes and a host": lambda p: "//shop.test" + p,
    "very long": lambda p: p + "?" + "a" * 4_000,
}
METHODS = ("GET", "HEAD", "OPTIONS", "POST", "PUT", "PATCH", "DELETE", "TRACE", "QUERY", "get",
           "Get", "PROPFIND", "LINK", "PURGE")  # fmt: skip
OVERRIDES = (
    ("X-HTTP-Method-Override", "GET"),
    ("X-HTTP-Method", "GET"),
    ("X-Method-Override", "GET"),
    ("X-Original-URL", "/"),
    ("X-Rewrite-URL", "/"),
    ("X-Original-Path", "/"),
    ("X-Forwarded-Path", "/"),
    ("X-Forwarded-Prefix", "/free"),
    ("X-Script-Name", "/paid"),
    ("X-Forwarded-Host", "free.test"),
    ("X-Forwarded-Proto", "http"),
    ("X-Forwarded-For", "127.0.0.1"),
    ("X-Real-IP", "127.0.0.1"),
    ("Forwarded", "for=127.0.0.1;proto=https;host=free.test"),
    ("X-Payment", "paid"),
    ("X-Paid", "true"),
    ("Payment-Receipt", "e30"),
    ("Payment-Session", "C" + "A" * 55),
    ("Accept-Payment", "*/*;q=0"),
    ("Accept-Payment", "free/free"),
    ("Content-Type", "application/json"),
    ("Range", "bytes=0-10"),
    ("If-None-Match", "*"),
    ("If-Modified-Since", "Sat, 01 Jan 2050 00:00:00 GMT"),
    ("Cache-Control", "only-if-cached"),
    ("Upgrade", "h2c"),
    ("Connection", "Authorization"),
    ("Connection", "close, Host, Authorization"),
    ("Access-Control-Request-Method", "GET"),
    ("Origin", "null"),
    ("Host", "localhost"),
    ("Host", ""),
    ("Host", "127.0.0.1:8000"),
    ("Authorization", ""),
    ("Authorization", "Payment"),
    ("Authorization", "Payment "),
    ("Authorization", "Bearer Payment abc"),
    ("Authorization", "Basic UGF5bWVudDo="),
)


def _spelled(name: str) -> None:
    respell = SPELLINGS[name]

    @attack("A13", f"a path with {name}", times=20, short=1)
    async def spell(scene: Scene) -> None:
        """Unpaid, in every spelling: no goods."""
        for path, method in itertools.product(ROUTES, ("GET", "HEAD", "POST")):
            target = respell(path)
            for _ in range(1 if method != "GET" else scene.times):
                request = scene.rendered(method, target)
                answer = await scene.ground.wires[0].exchange(request, is_head=method == "HEAD")
                scene.judge(answer, Wants.REFUSED, f"{method} {target[:60]}", may_be_silent=True)
        handshake = scene.rendered("GET", respell("/socket"), HANDSHAKE)
        answer = await scene.ground.wires[0].exchange(handshake, is_fresh=True)
        scene.judge(answer, Wants.REFUSED, "a handshake", may_be_silent=True)


for _name in SPELLINGS:
    _spelled(_name)


@attack("A13", "every method, and fields that claim another", times=3, short=1)
async def methods(scene: Scene) -> None:
    for _ in range(scene.times):
        for path, method in itertools.product(ROUTES, METHODS):
            for override in OVERRIDES if method in ("GET", "POST", "OPTIONS") else OVERRIDES[:3]:
                if scene.is_short and scene.random.random() > 0.15:
                    continue
                fields = [override, ("Authorization", "Bearer me")]
                if override[0] == "Authorization":
                    fields = [override]
                request = scene.rendered(method, path, fields)
                answer = await scene.ground.wires[0].exchange(request, is_head=method == "HEAD")
                what = f"{method} {path} {override[0]}"
                scene.judge(answer, Wants.REFUSED, what, may_be_silent=True)


@attack("A13", "HEAD and OPTIONS with a credential", times=10, short=1, exact=True)
async def other_methods(scene: Scene) -> None:
    """Neither uses it up for nothing, nor shows what it bought."""
    for path in ("/paid", "/plain", "/shelf/a.txt", "/any"):
        credential = await scene.sponsored(path)
        for method in ("HEAD", "OPTIONS", "POST") * scene.times:
            await scene.show(credential, path, method=method, wants=Wants.REFUSED)
        await scene.redeem(credential, path)


@attack("A13", "two credentials, merged, folded and repeated", times=10, short=1, exact=True)
async def two(scene: Scene) -> None:
    """One request carries one credential; and what was refused with another is still good."""
    for number in range(scene.times):
        payer = await scene.payer(number)
        good = (await scene.sponsored(payer=payer)).to_header()
        other = (await scene.sponsored(payer=payer)).to_header()
        fields: list[list[tuple[str, str]]] = [
            [("Authorization", good), ("Authorization", good)],
            [("Authorization", good), ("Authorization", other)],
            [("Authorization", f"{good}, {other}")],
            [("Authorization", good), ("Payment-Authorization", other)],
            [("Authorization", "Payment AAAA"), ("Payment-Authorization", good)],
            [("Authorization", f"Payment AAAA, {good}")],
            [("Authorization", f"{good}, Payment AAAA")],
        ]
        for shown in fields:
            await scene.request("GET", "/paid", shown, wants=Wants.REFUSED)
        await scene.redeem(good)
        await scene.redeem(other)


FOLDED = (
    b"GET /paid HTTP/1.1\r\nHost: shop.test\r\nAuthorization:\r\n Payment AAAA\r\n\r\n",
    b"GET /paid HTTP/1.1\r\nHost: shop.test\r\nAuthorization : Payment AAAA\r\n\r\n",
    b"GET /paid HTTP/1.1\r\nHost: shop.test\r\n Authorization: Payment AAAA\r\n\r\n",
    b"GET /paid HTTP/1.1\r\nHost: a.test\r\nHost: b.test\r\n\r\n",
    b"GET /paid HTTP/1.0\r\n\r\n",
    b"GET /paid\r\n\r\n",
    b"GET  /paid HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"GET /paid HTTP/9.9\r\nHost: shop.test\r\n\r\n",
    b"GET /paid HTTP/1.1\nHost: shop.test\n\n",
    b"GET /paid\tHTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"GET / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
    b"POST /any HTTP/1.1\r\nHost: shop.test\r\nContent-Length: -1\r\n\r\n",
    b"POST /any HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 1e3\r\n\r\n",
    b"POST /any HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n"
    b"Content-Length: 4\r\n\r\n0\r\n\r\nGET /paid HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"POST /any HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: xchunked\r\n\r\n0\r\n\r\n",
    b"POST /any HTTP/1.1\r\nHost: shop.test\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
    b"POST / HTTP/1.1\r\nHost: shop.test\r\nContent-Length: 0\r\n\r\n"
    b"GET /paid HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"OPTIONS * HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"CONNECT shop.test:80 HTTP/1.1\r\nHost: shop.test\r\n\r\n",
    b"GET /paid HTTP/1.1\r\nHost: shop.test\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
    b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
    b"\r\n\r\nGET /paid HTTP/1.1\r\nHost: shop.test\r\n\r\n",
)


@attack("A13", "requests that are none, or two", times=20, short=1)
async def ill_formed(scene: Scene) -> None:
    for raw in FOLDED * scene.times:
        answer = await scene.ground.wires[0].exchange(raw + b"\r\n\r\n", is_fresh=True)
        scene.judge(answer, Wants.REFUSED, repr(raw[:40]), may_be_silent=True)


@attack("A13", "what a shared cache may keep", times=5, short=1, exact=True)
async def cacheable(scene: Scene) -> None:
    """No paid answer and no 402 may be kept for others, whatever the request says."""
    asks = (("Cache-Control", "public"), ("Pragma", "cache"), ("X-Cache", "HIT"), ("Vary", "*"))
    for path in ("/paid", "/after", "/stream", "/download", "/shelf/a.txt", "/plain", "/sizes"):
        for number in range(scene.times):
            field = asks[number % len(asks)]
            answer = await scene.request("GET", path, [field], wants=Wants.REFUSED)
            if "no-store" not in (answer.value("cache-control") or ""):
                scene.tally.leak(f"{path}: the 402 may be kept")
            credential = await scene.sponsored(path)
            paid = await scene.redeem(credential, path)
            control = paid.value("cache-control") or ""
            if "private" not in control and "no-store" not in control:
                scene.tally.leak(f"{path}: a paid answer may be kept: {control!r}")
            for word in ("public", "s-maxage"):
                if word in control:
                    scene.tally.leak(f"{path}: a paid answer says {word}")
