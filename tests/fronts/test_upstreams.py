"""A proxy that asks another host when the first one does not answer: it asks with a credential that
the first one has seen."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from tests.fronts.nginx import changed, documented, needs_nginx, running_front
from tests.fronts.stage import address, attacking, proxying, submitted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.attacks.ground import Ground
    from tests.fronts.nginx import Front

pytestmark = needs_nginx

MORE = "proxy_next_upstream error timeout http_500 http_502 http_503 http_504 non_idempotent;"
"""As bold as it gets: requests of all methods are repeated, after every kind of failure."""


@contextmanager
def two_hosts(ground: Ground, folder: Path, *, first: str, patience: str) -> Iterator[Front]:
    """The shop is asked only when ``first`` has failed."""
    hosts = changed(
        documented("upstream api"),
        [
            ("server 10.0.0.1:8000;", f"server {first} max_fails=0;"),
            ("server 10.0.0.2:8000;", f"server {address(ground)} backup;"),
        ],
    )
    server = proxying(
        "api", [("proxy_read_timeout 120s;", f"proxy_read_timeout {patience}; {MORE}")]
    )
    with running_front(hosts + server, folder) as front:
        yield front


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_host_that_dies_while_it_settles(
    ground: Ground, tmp_path: Path, method: str
) -> None:
    """The other one finds what it left, and takes the payment for its own: one answer, one charge,
    and the payer has noticed nothing."""
    doomed = await asyncio.to_thread(ground.start)
    server = ground.servers.pop()
    first = f"{doomed.host}:{doomed.port}"
    try:
        with two_hosts(ground, tmp_path, first=first, patience="120s") as front:
            async with attacking(ground, front, f"dies {method}") as scene:
                credential = await scene.sponsored("/any", method=method)
                await scene.by_hand(lambda: ground.node.control("freeze"))
                asking = asyncio.create_task(scene.show(credential, "/any", method=method))
                await submitted(ground)
                await asyncio.to_thread(server.kill)
                await scene.by_hand(lambda: ground.node.control("thaw"))
                answer = await asking
                assert (answer.status, len(scene.granted)) == (200, 1)
                await scene.refused(credential, "/any", method=method)
    finally:
        await doomed.close()
        await asyncio.to_thread(server.stop)


async def test_the_only_host_dies_while_it_settles(ground: Ground, tmp_path: Path) -> None:
    """The payer sees the proxy's 502, shows the same credential again, and is charged once."""
    doomed = await asyncio.to_thread(ground.start)
    server, again = ground.servers.pop(), None
    try:
        with running_front(proxying(f"{doomed.host}:{doomed.port}"), tmp_path) as front:
            async with attacking(ground, front, "502", troubled=True) as scene:
                credential = await scene.sponsored()
                await scene.by_hand(lambda: ground.node.control("freeze"))
                raw = scene.rendered("GET", "/paid", [("Authorization", credential.to_header())])
                asking = asyncio.create_task(scene.ground.wires[0].exchange(raw))
                await submitted(ground)
                await asyncio.to_thread(server.kill)
                assert (await asking).status == 502
                await scene.by_hand(lambda: ground.node.control("thaw"))
                await asyncio.to_thread(ground.start, port=doomed.port)
                again = ground.servers.pop()
                await scene.redeem(credential)
                await scene.refused(credential)
    finally:
        await doomed.close()
        for each in (server, again):
            if each is not None:
                await asyncio.to_thread(each.stop)


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_hosts_that_are_asked_one_after_the_other(
    ground: Ground, tmp_path: Path, method: str
) -> None:
    """The proxy gives up on both, one after the other, with the same credential."""
    slow = await asyncio.to_thread(ground.start)
    server = ground.servers.pop()
    first = f"{slow.host}:{slow.port}"
    try:
        with two_hosts(ground, tmp_path, first=first, patience="1s") as front:
            async with attacking(ground, front, f"both {method}", troubled=True) as scene:
                credential = await scene.sponsored("/any", method=method)
                await scene.by_hand(lambda: ground.node.control("freeze"))
                raw = scene.rendered(method, "/any", [("Authorization", credential.to_header())])
                given_up = await scene.ground.wires[0].exchange(raw)
                assert given_up.status == 504
                await scene.by_hand(lambda: ground.node.control("thaw"))
                await scene.redeem(credential, "/any", method=method)
                await scene.refused(credential, "/any", method=method)
    finally:
        await slow.close()
        await asyncio.to_thread(server.stop)
