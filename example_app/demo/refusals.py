"""The third act: what does not work, what costs nothing, what is served again for one price."""

from __future__ import annotations

from typing import TYPE_CHECKING

from example_app.demo.books import MismatchError, whole
from example_app.demo.handmade import (
    first_challenge,
    price_of,
    reference_of,
    sponsored_credential,
)
from mpp_asgi.protocol import Problem

if TYPE_CHECKING:
    import httpx

    from example_app.demo.scene import Scene

CHEAP, DEAR = "/sun/paris", "/calendars/year/paris"


def perform(scene: Scene) -> None:
    """Try everything, and count the money each time."""
    for title, act in ACTS:
        scene.page.line()
        scene.page.line(f"  {title}", style="bold")
        act(scene)
        scene.page.text("Balances: exact.", indent=4, style="dim")


def refuse_replay(scene: Scene) -> None:
    """One payment, one answer."""
    challenge = first_challenge(scene.http.get(CHEAP))
    credential = sponsored_credential(challenge, scene.agent, scene.rpc)
    first = _show(scene, CHEAP, credential)
    _require_status(first, 200)
    _count(scene, first, price_of(challenge))
    _say(scene, f"The first time: HTTP 200, {whole(price_of(challenge))} USDC paid.")
    _require_refusal(scene, _show(scene, CHEAP, credential), "invalid-challenge")


def refuse_underpayment(scene: Scene) -> None:
    """A payment of one base unit less."""
    challenge = first_challenge(scene.http.get(CHEAP))
    price = price_of(challenge)
    _say(scene, f"The agent signs {whole(price - 1)} instead of {whole(price)} USDC.")
    credential = sponsored_credential(challenge, scene.agent, scene.rpc, amount=price - 1)
    _require_refusal(scene, _show(scene, CHEAP, credential), "verification-failed")


def refuse_wrong_route(scene: Scene) -> None:
    """A payment for something else."""
    challenge = first_challenge(scene.http.get(CHEAP))
    _say(scene, f"The agent signs for {CHEAP} and shows that at {DEAR}.")
    credential = sponsored_credential(challenge, scene.agent, scene.rpc)
    _require_refusal(scene, _show(scene, DEAR, credential), "invalid-challenge")


def take_nothing_for_nothing(scene: Scene) -> None:
    """The endpoint finds nothing to sell, so the payment is not taken."""
    path = "/white-nights/cairo"
    challenge = first_challenge(scene.http.get(path))
    answer = _show(scene, path, sponsored_credential(challenge, scene.agent, scene.rpc))
    _require_status(answer, 404)
    scene.books.balance("A search without a find")
    _say(scene, f"HTTP 404: {answer.json()['detail']} The payment is not taken.", style="good")


def serve_again_after_failure(scene: Scene) -> None:
    """The endpoint fails after it was paid: the same payment is good until there is an answer."""
    path = "/sky/helsinki"
    challenge = first_challenge(scene.http.get(path))
    credential = sponsored_credential(challenge, scene.agent, scene.rpc)
    failed = _show(scene, path, credential)
    _require_status(failed, 503)
    _say(scene, f"Paid, and answered with HTTP 503: {failed.json()['detail']}")
    served = _show(scene, path, credential)
    _require_status(served, 200)
    price = price_of(challenge)
    _count(scene, served, price)
    _say(
        scene,
        f"The same payment again: HTTP 200, and {whole(price)} USDC paid in all.",
        style="good",
    )


ACTS = (
    ("The same payment, shown twice", refuse_replay),
    ("A payment that is too small", refuse_underpayment),
    ("A payment for another route", refuse_wrong_route),
    ("A search that finds nothing", take_nothing_for_nothing),
    ("An answer that fails after it was paid", serve_again_after_failure),
)


def _say(scene: Scene, text: str, *, style: str = "") -> None:
    scene.page.text(text, indent=4, style=style)


def _show(scene: Scene, path: str, credential: str) -> httpx.Response:
    return scene.http.get(path, headers={"Authorization": credential})


def _require_status(answer: httpx.Response, status: int) -> None:
    if answer.status_code != status:
        raise MismatchError(
            f"{answer.url.path} answers HTTP {answer.status_code} instead of {status}: "
            f"{answer.text}"
        )


def _require_refusal(scene: Scene, answer: httpx.Response, slug: str) -> None:
    _require_status(answer, 402)
    problem = Problem.from_json(answer.content)
    if problem.slug != slug:
        raise MismatchError(f"The problem is {problem.slug} instead of {slug}.")
    scene.books.balance(f"A refusal ({slug})")
    _say(scene, f"HTTP 402 {slug}: {problem.detail}", style="good")


def _count(scene: Scene, answer: httpx.Response, price: int) -> None:
    scene.books.paid("agent", "seller", price)
    scene.books.fee("sponsor", reference_of(answer))
    scene.books.balance(f"GET {answer.url.path}, paid by hand")
