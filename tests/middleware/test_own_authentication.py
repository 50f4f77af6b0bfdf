"""The application's own authentication and validation come first; then the money."""

import contextlib
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Depends, FastAPI, Header, HTTPException, Request, Security
from fastapi.security import (
    APIKeyCookie,
    APIKeyHeader,
    APIKeyQuery,
    HTTPAuthorizationCredentials,
    HTTPBasic,
    HTTPBearer,
    HTTPDigest,
    OAuth2PasswordBearer,
    OpenIdConnect,
    SecurityScopes,
)
from pydantic import BaseModel
from starlette.authentication import (
    AuthCredentials,
    AuthenticationBackend,
    AuthenticationError,
    SimpleUser,
    requires,
)
from starlette.middleware.authentication import AuthenticationMiddleware
from starlette.responses import JSONResponse, PlainTextResponse

from mpp_asgi import price
from tests.methods.stall import Exchange, Selling, Visitor, credential, payment

SCHEMES: dict[str, Any] = {
    "bearer": (HTTPBearer(), {"authorization": "Bearer token"}, True),
    "basic": (HTTPBasic(), {"authorization": "Basic dTpw"}, True),
    "digest": (HTTPDigest(), {"authorization": 'Digest username="u"'}, True),
    "oauth2": (OAuth2PasswordBearer("/token"), {"authorization": "Bearer token"}, True),
    "openid": (OpenIdConnect(openIdConnectUrl="/id"), {"authorization": "Bearer token"}, True),
    "key in a header": (APIKeyHeader(name="X-Key"), {"x-key": "key"}, False),
    "key in authorization": (APIKeyHeader(name="Authorization"), {"authorization": "key"}, True),
    "key in a cookie": (APIKeyCookie(name="session"), {"cookie": "session=key"}, False),
}


def guarded_by(scheme: Any) -> FastAPI:
    app = FastAPI()

    @app.get("/sold", dependencies=[Depends(scheme)])
    @price("1")
    async def endpoint() -> str:
        return "content"

    return app


async def check_it_comes_first(
    app: FastAPI, selling: Selling, identity: dict[str, str], *, reads_authorization: bool
) -> None:
    visitor = Visitor(app)
    refused = await visitor.get("/sold")
    assert refused.status in {401, 403}
    assert refused.challenges == []

    unpaid = await visitor.get("/sold", headers=identity)
    assert (unpaid.status, unpaid.problem) == (402, "payment-required")
    challenge = unpaid.challenge
    assert challenge.header == ("Payment-Authorization" if reads_authorization else None)

    stranger = await visitor.get("/sold", headers=payment(challenge))
    assert stranger.status in {401, 403}
    assert selling.till.takings == 0

    served = await visitor.get("/sold", headers={**identity, **payment(challenge)})
    assert (served.status, served.json()) == (200, "content")
    assert served.receipt is not None
    assert selling.till.takings == 1


@pytest.mark.parametrize("kind", SCHEMES)
async def test_it_comes_first_for_every_scheme(kind: str) -> None:
    scheme, identity, reads_authorization = SCHEMES[kind]
    selling = Selling()
    app = selling.to(guarded_by(scheme))
    await check_it_comes_first(app, selling, identity, reads_authorization=reads_authorization)


async def test_a_key_in_the_query() -> None:
    app = FastAPI()

    @app.get("/sold")
    @price("1")
    async def endpoint(key: Annotated[str, Security(APIKeyQuery(name="key"))]) -> str:
        return key

    visitor = Visitor(Selling().to(app))
    assert (await visitor.get("/sold")).status in {401, 403}
    assert (await visitor.buy("GET", "/sold?key=mine")).json() == "mine"


async def test_a_scheme_deep_in_the_dependencies() -> None:
    bearer = HTTPBearer()

    async def token(found: Annotated[HTTPAuthorizationCredentials, Security(bearer)]) -> str:
        return found.credentials

    async def user(scopes: SecurityScopes, token: str = Depends(token)) -> str:
        return f"{token} {scopes.scopes}"

    app = FastAPI()

    @app.get("/sold")
    @price("1")
    async def endpoint(user: str = Security(user, scopes=["read"])) -> str:
        return "content"

    selling = Selling()
    await check_it_comes_first(
        selling.to(app), selling, {"authorization": "Bearer x"}, reads_authorization=True
    )


@pytest.mark.parametrize("place", ["application", "router", "include", "nested"])
async def test_a_scheme_for_a_whole_application_or_router(place: str) -> None:
    guard = [Depends(HTTPBearer())]
    app = FastAPI(dependencies=guard if place == "application" else None)
    outer = APIRouter(dependencies=guard if place == "nested" else None)
    inner = APIRouter(dependencies=guard if place == "router" else None)

    @inner.get("/sold")
    @price("1")
    async def endpoint() -> str:
        return "content"

    outer.include_router(inner, dependencies=guard if place == "include" else None)
    app.include_router(outer)
    selling = Selling()
    await check_it_comes_first(
        selling.to(app), selling, {"authorization": "Bearer x"}, reads_authorization=True
    )


async def test_a_price_shared_by_an_open_route_and_a_guarded_one() -> None:
    app = FastAPI()
    priced = price("1")

    async def endpoint() -> str:
        return "content"

    app.get("/open")(priced(endpoint))
    app.get("/guarded", dependencies=[Depends(HTTPBearer())])(priced(endpoint))
    visitor = Visitor(Selling().to(app))
    assert (await visitor.challenge("GET", "/open")).header is None
    headers = {"authorization": "Bearer x"}
    challenge = await visitor.challenge("GET", "/guarded", headers=headers)
    assert challenge.header == "Payment-Authorization"


async def test_a_credential_in_authorization_beside_the_bearer_is_found() -> None:
    """The challenge names another header, but proxies merge and payers differ."""
    visitor = Visitor(Selling().to(guarded_by(HTTPBearer())))
    identity = {"authorization": "Bearer x"}
    challenge = await visitor.challenge("GET", "/sold", headers=identity)
    merged = f"Bearer x, {credential(challenge).to_header()}"
    served = await visitor.get("/sold", headers={"authorization": merged})
    assert served.status == 200


@pytest.mark.parametrize("shown", ["Payment nonsense", "Payment e30"])
async def test_a_bad_credential_of_a_stranger_is_a_strangers_first(shown: str) -> None:
    visitor = Visitor(Selling().to(guarded_by(HTTPBearer())))
    headers = {"payment-authorization": shown}
    assert (await visitor.get("/sold", headers=headers)).status in {401, 403}
    known = {**headers, "authorization": "Bearer x"}
    refused = await visitor.get("/sold", headers=known)
    assert (refused.status, refused.problem) == (402, "malformed-credential")


async def test_authentication_written_by_hand() -> None:
    """It cannot be seen beforehand, so an unpaid stranger meets 402 first; money comes last. That
    `Authorization` is taken is seen by who sends it."""
    app = FastAPI()

    async def user(authorization: str = Header("")) -> None:
        if "Bearer" not in authorization:
            raise HTTPException(401)

    @app.get("/sold", dependencies=[Depends(user)])
    @price("1")
    async def endpoint() -> str:
        return "content"

    selling = Selling()
    visitor = Visitor(selling.to(app))
    assert (await visitor.challenge("GET", "/sold")).header is None
    unpaid = await visitor.get("/sold", headers={"authorization": "Bearer x"})
    assert (unpaid.status, unpaid.challenge.header) == (402, "Payment-Authorization")
    written = credential(unpaid.challenge).to_header()
    stranger = await visitor.get("/sold", headers={"payment-authorization": written})
    assert (stranger.status, selling.till.takings) == (401, 0)
    both = {"authorization": "Bearer x", "payment-authorization": written}
    assert (await visitor.get("/sold", headers=both)).status == 200


@pytest.mark.parametrize("cost", ["1", lambda request: "1"], ids=["fixed", "dynamic"])
@pytest.mark.parametrize("body", [b"", b"{}"])
async def test_a_guarded_route_that_is_priced_by_path(cost: Any, body: bytes) -> None:
    app = FastAPI()

    @app.post("/sold", dependencies=[Depends(HTTPBearer())])
    async def endpoint() -> str:
        return "content"

    selling = Selling(prices={"/sold": cost})
    visitor = Visitor(selling.to(app))
    identity = {"authorization": "Bearer x"}
    challenge = await visitor.challenge("POST", "/sold", headers=identity, body=body)
    assert challenge.header == "Payment-Authorization"
    paid = {**identity, "payment-authorization": credential(challenge).to_header()}
    assert (await visitor.ask("POST", "/sold", headers=paid, body=body)).status == 200

    again = await visitor.ask("POST", "/sold", headers=paid, body=body)
    assert (again.status, again.challenge.header) == (402, "Payment-Authorization")


# Validation


class Order(BaseModel):
    pages: int


async def test_a_request_that_is_not_valid_moves_no_money() -> None:
    app = FastAPI()

    @app.post("/print/{copies}")
    @price("1")
    async def print_it(copies: int, order: Order) -> int:
        return copies * order.pages

    selling = Selling()
    visitor = Visitor(selling.to(app))
    for target, body in [
        ("/print/x", b'{"pages": 1}'),
        ("/print/1", b'{"pages": "x"}'),
        ("/print/1", b"{"),
        ("/print/1", b""),
    ]:
        request: dict[str, Any] = {"body": body, "headers": {"content-type": "application/json"}}
        challenge = await visitor.challenge("POST", target, **request)
        request["headers"].update(payment(challenge))
        for _ in range(2):
            invalid = await visitor.ask("POST", target, **request)
            assert (invalid.status, invalid.receipt) == (422, None)
    assert selling.till.takings == 0
    request = {"body": b'{"pages": 2}', "headers": {"content-type": "application/json"}}
    assert (await visitor.buy("POST", "/print/3", **request)).json() == 6


async def test_a_dependency_that_refuses_moves_no_money_and_uses_nothing_up() -> None:
    app = FastAPI()
    stock = [0]

    async def in_stock() -> None:
        if not stock[0]:
            raise HTTPException(409, "sold out")

    @app.get("/sold", dependencies=[Depends(in_stock)])
    @price("1")
    async def endpoint() -> str:
        return "content"

    selling = Selling()
    visitor = Visitor(selling.to(app))
    headers = payment(await visitor.challenge("GET", "/sold"))
    assert (await visitor.get("/sold", headers=headers)).status == 409
    assert selling.till.takings == 0
    stock[0] = 1
    assert (await visitor.get("/sold", headers=headers)).status == 200


async def test_dependencies_with_yield_are_unwound_when_payment_is_refused() -> None:
    app = FastAPI()
    events: list[str] = []

    async def resource() -> Any:
        events.append("opened")
        try:
            yield
        except Exception:
            events.append("failed")
            raise
        finally:
            events.append("closed")

    @app.get("/sold", dependencies=[Depends(resource), Depends(HTTPBearer())])
    @price("1")
    async def endpoint() -> str:
        events.append("ran")
        return "content"

    visitor = Visitor(Selling().to(app))
    headers = {"authorization": "Bearer x"}
    challenge = await visitor.challenge("GET", "/sold", headers=headers)
    assert events == ["opened", "closed"]
    events.clear()
    served = await visitor.get("/sold", headers={**headers, **payment(challenge)})
    assert (served.status, events) == (200, ["opened", "ran", "closed"])


async def test_a_dependency_that_swallows_every_exception_swallows_no_challenge() -> None:
    app = FastAPI()

    async def careless() -> Any:
        with contextlib.suppress(Exception):
            yield

    @app.get("/sold", dependencies=[Depends(careless), Depends(HTTPBearer())])
    @price("1")
    async def endpoint() -> str:
        return "content"

    visitor = Visitor(Selling().to(app))
    headers = {"authorization": "Bearer x"}
    assert (await visitor.get("/sold", headers=headers)).status == 402


# As middleware


class Backend(AuthenticationBackend):
    async def authenticate(self, conn: Any) -> Any:
        if "x-user" not in conn.headers:
            return None
        if conn.headers["x-user"] == "mallory":
            raise AuthenticationError("go away")
        return AuthCredentials(["known"]), SimpleUser(conn.headers["x-user"])


def refuse(request: Any, error: Exception) -> JSONResponse:
    return JSONResponse({"error": str(error)}, status_code=401)


def with_users() -> FastAPI:
    app = FastAPI()

    @requires("known", status_code=401)
    @price("1")
    async def endpoint(request: Request) -> PlainTextResponse:
        return PlainTextResponse(request.user.display_name)

    app.add_route("/sold", endpoint)
    return app


@pytest.mark.parametrize("outside", [True, False])
async def test_authentication_as_middleware(outside: bool) -> None:
    selling = Selling()
    app = with_users()
    if outside:
        selling.to(app)
    app.add_middleware(AuthenticationMiddleware, backend=Backend(), on_error=refuse)
    if not outside:
        selling.to(app)
    visitor = Visitor(app)

    async def ask(user: str | None, paying: Exchange | None = None) -> Exchange:
        headers = {} if user is None else {"x-user": user}
        if paying is not None:
            headers.update(payment(paying.challenge))
        return await visitor.get("/sold", headers=headers)

    unpaid = await ask("ann")
    assert unpaid.status == 402
    # Inside of ours it is met after the price, outside before it.
    assert (await ask("mallory")).status == (401 if outside else 402)
    assert (await ask("mallory", unpaid)).status == 401
    assert (await ask(None, unpaid)).status == 401
    assert selling.till.takings == 0
    assert (await ask("ann", unpaid)).body == b"ann"


async def test_a_free_head_beside_a_get_that_authenticates_stays_free() -> None:
    app = FastAPI()

    @app.get("/x", dependencies=[Depends(APIKeyHeader(name="x-key"))])
    @price("1")
    async def sold() -> str:
        return "content"

    @app.head("/x")
    async def free() -> None:
        return None

    visitor = Visitor(Selling().to(app))
    challenge = await visitor.challenge("GET", "/x", headers={"x-key": "mine"})
    assert (await visitor.ask("HEAD", "/x")).status == 200
    assert (await visitor.ask("HEAD", "/x", headers=payment(challenge))).status == 200
