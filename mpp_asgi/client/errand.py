"""Carries out steps that belong to no request of the app's, such as closing a channel."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, TypeVar, cast

import httpx

from mpp_asgi.client.steps import RequestLostError, Run

if TYPE_CHECKING:
    from collections.abc import Callable

    from mpp_asgi.client.hands import AsyncHands, SyncHands
    from mpp_asgi.client.steps import Step, Steps

T = TypeVar("T")

PATIENCE_SECONDS: Final = 60.0
"""For an answer, where the app lends no client: it may have to wait for ledgers."""


class Errands:
    """Carries out steps, one after the other, through one client."""

    def __init__(self, hands: Callable[[], SyncHands], client: httpx.Client) -> None:
        self._hands = hands
        self._client = client

    def run(self, steps: Steps[T]) -> T:
        return carry_out(steps, self._hands(), self._client)


class AsyncErrands:
    """`Errands` in an event loop."""

    def __init__(self, hands: Callable[[], AsyncHands], client: httpx.AsyncClient) -> None:
        self._hands = hands
        self._client = client

    async def run(self, steps: Steps[T]) -> T:
        return await acarry_out(steps, self._hands(), self._client)


def carry_out(steps: Steps[T], hands: SyncHands, client: httpx.Client | None = None) -> T:
    """The steps' result. Their requests go through ``client``, past its own authentication."""
    run: Run[Step, T] = Run(steps)
    own = None
    try:
        run.send(None)
        while (step := run.step) is not None:
            if not isinstance(step, httpx.Request):
                hands.carry_out(run, step)
                continue
            if client is None:
                client = own = httpx.Client(timeout=PATIENCE_SECONDS)
            try:
                _lend_headers(step, client.headers)
                response = client.send(step, auth=None, follow_redirects=False)
            except httpx.HTTPError as error:
                run.throw(RequestLostError(step, error))  # there may be others to go on with
                continue
            except BaseException as error:
                run.lose(error)
                raise
            run.send(response)
    except RequestLostError as lost:
        raise lost.cause or lost from None
    finally:
        hands.close()
        if own is not None:
            own.close()
    return cast("T", run.result)


async def acarry_out(
    steps: Steps[T], hands: AsyncHands, client: httpx.AsyncClient | None = None
) -> T:
    """`carry_out` in an event loop."""
    run: Run[Step, T] = Run(steps)
    own = None
    try:
        run.send(None)
        while (step := run.step) is not None:
            if not isinstance(step, httpx.Request):
                await hands.carry_out(run, step)
                continue
            if client is None:
                client = own = httpx.AsyncClient(timeout=PATIENCE_SECONDS)
            try:
                _lend_headers(step, client.headers)
                response = await client.send(step, auth=None, follow_redirects=False)
            except httpx.HTTPError as error:
                run.throw(RequestLostError(step, error))  # there may be others to go on with
                continue
            except BaseException as error:
                run.lose(error)
                raise
            run.send(response)
    except RequestLostError as lost:
        raise lost.cause or lost from None
    finally:
        await hands.close()
        if own is not None:
            await own.aclose()
    return cast("T", run.result)


def _lend_headers(request: httpx.Request, headers: httpx.Headers) -> None:
    """What the app's client sends with every request, an API key for instance, goes along; nothing
    of it takes the place of what the request has."""
    present = {name.lower() for name, _ in request.headers.raw}
    for name, value in headers.multi_items():
        if name.lower().encode("ascii") not in present:
            request.headers[name] = value
