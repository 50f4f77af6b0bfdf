"""A request that says by what it can be known again is carried out once, and answered alike
(``Idempotency-Key``, draft-ietf-httpapi-idempotency-key-header; the Payment core draft asks for it
on methods that are not idempotent).

The finished response is kept before its payment counts as delivered, and given again to whoever
sends the same key with the same credential and the same request: nothing runs, nothing is charged.
What is *the same* is told by hashes:

- the **key** in the store: of the header's value and the whole credential, challenge id and all.
  Whoever lacks any of it finds nothing. With another credential it is another request;
- the **request**: of method, path, query and body. With another one the key is refused (422).

Two at once take turns, as charges do, in one process and between processes: the record of the turn
is a charge's that is only ever claimed. Of a response that is too large, the fact is kept that it
was sent: its request is not carried out again, and not charged again, but refused (409).

What did not finish is not kept: an error of the server's, what the application asks to try again
later, a response that was cut off. It is carried out again.

What is kept is paid for, though its payer may be gone before its last part: it is there to be had.
"""

from __future__ import annotations

import asyncio
import hashlib
import json
import logging
from dataclasses import replace
from typing import TYPE_CHECKING, Any, Final

from mpp_asgi.answers import Answer, OwedError, Replay
from mpp_asgi.asked import HANDSHAKE
from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Credential, ProtocolError, problems
from mpp_asgi.stores.contract import OwnershipLostError, StoreUnavailableError
from mpp_asgi.stores.kept_answers import KeptAnswer

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import Message, Send

    from mpp_asgi.asked import Asked
    from mpp_asgi.charges import ChargeBook
    from mpp_asgi.turns import Turn

log = logging.getLogger("mpp_asgi")

IDEMPOTENT: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE", HANDSHAKE})
"""Methods that may be repeated as they are; the key is of no meaning there."""

_BODY: Final = frozenset(
    {"http.response.body", "http.response.pathsend", "http.response.zerocopysend"}
)
_PREFIX: Final = "answer:"
"""Of the turns' records."""


class Repetition:
    """Carries out once what is asked more than once.

    Args:
        book: this process's charges; its store keeps the responses.
        seconds: how long a response is kept.
        limit: bytes of the largest response that is.
        clock: Unix seconds.
    """

    def __init__(
        self, book: ChargeBook, *, seconds: int, limit: int, clock: Callable[[], float]
    ) -> None:
        self._book = book
        self._seconds = seconds
        self._limit = limit
        self._clock = clock

    async def begin(self, asked: Asked, credential: Credential) -> Errand | None:
        """Take a request's turn; ``None`` if it has no key that counts. End it with `Errand.end`.

        Raises:
            OwedError: it was carried out before, or its key belongs to another.
            PendingError: it is being carried out, and that takes long.
            StoreUnavailableError: the records are out of reach.
        """
        if not _is_keyed(asked):
            return None
        key, request = _key(asked, credential), _request(asked)
        await self._give_again(key, request)
        turn = await self._book.turn(_PREFIX + key)
        try:
            await self._claim(turn, request)
            await self._give_again(key, request)  # by whoever had the turn before
        except BaseException:
            await turn.end()
            raise
        return Errand(self, turn, key, request)

    async def recall(self, asked: Asked) -> None:
        """See whether a request that is about to be refused was carried out before, or has the key
        of one that was.

        Raises:
            OwedError: so it is.
            StoreUnavailableError: the records are out of reach.
        """
        credentials = asked.credentials
        if not _is_keyed(asked) or len(credentials) != 1:
            return
        try:
            credential = Credential.from_header(credentials[0])
        except ProtocolError:
            return
        await self._give_again(_key(asked, credential), _request(asked))

    async def _claim(self, turn: Turn, request: str) -> None:
        try:
            await turn.claim(request, (), keep_until=int(self._clock()) + self._seconds)
        except RefusalError:
            raise OwedError(_taken()) from None

    async def _give_again(self, key: str, request: str) -> None:
        kept = await self._book.store.kept_answer(key, now=int(self._clock()))
        if kept is None:
            return
        if kept.request != request:
            raise OwedError(_taken())
        if not kept.content:
            raise OwedError(_too_large())
        raise OwedError(_unpacked(kept.content))

    async def keep(self, key: str, request: str, response: Replay | None) -> None:
        """Keep a response, or that there was one."""
        now = int(self._clock())
        content = b"" if response is None else _packed(response)
        answer = KeptAnswer(key, request, content, now + self._seconds)
        await self._book.store.keep_answer(answer, now=now)

    @property
    def limit(self) -> int:
        return self._limit


class Errand:
    """One request with a key, from its turn to its end."""

    def __init__(self, repetition: Repetition, turn: Turn, key: str, request: str) -> None:
        self._repetition = repetition
        self._turn = turn
        self._key = key
        self._request = request
        self._start: Message | None = None
        self._body = bytearray()
        self._is_too_large = False
        self._is_off = False

    def around(
        self, send: Send, counts: Callable[[int], bool], when_kept: Callable[[], None]
    ) -> Send:
        """A ``send`` that takes note of the response, and keeps it before its last part goes.

        Args:
            send: passes it on.
            counts: whether a response of this status uses the payment up.
            when_kept: told when it is there for whoever asks again, or may be.
        """

        async def note(message: Message) -> None:
            if not self._is_off and self._note(message):
                await self._keep(counts, when_kept)
            await send(message)

        return note

    def leave(self) -> None:
        """What is sent from now on is not the application's response."""
        self._is_off = True

    async def end(self) -> None:
        """Let the next one have its turn."""
        await self._turn.end()

    def _note(self, message: Message) -> bool:
        """Remember a part; whether it is the last."""
        kind = message["type"]
        if kind == "http.response.start":
            self._start = message
        if kind not in _BODY:
            return False
        if kind != "http.response.body":
            self._is_too_large = True  # a file that the server sends by itself
        elif len(self._body) + len(message.get("body", b"")) > self._repetition.limit:
            self._is_too_large = True
            self._body.clear()
        elif not self._is_too_large:
            self._body += message.get("body", b"")
        return not message.get("more_body", False)

    async def _keep(self, counts: Callable[[int], bool], when_kept: Callable[[], None]) -> None:
        self._is_off = True
        start = self._start
        if start is None or not counts(start["status"]):
            return
        response = None
        if not self._is_too_large:
            response = Replay(start["status"], list(start.get("headers", ())), bytes(self._body))
        try:
            if not self._turn.is_held():
                await self._turn.hold()
            if response is None:
                await self._repetition.keep(self._key, self._request, None)
            else:
                await self._keep_whole(response, when_kept)
        except (StoreUnavailableError, OwnershipLostError) as error:
            # It leaves all the same: its payer waits for it, and need not ask again.
            log.warning("a response with an Idempotency-Key could not be kept: %s", error)

    async def _keep_whole(self, response: Replay, when_kept: Callable[[], None]) -> None:
        try:
            await self._repetition.keep(self._key, self._request, response)
        except asyncio.CancelledError:  # by whoever hangs up in time; the store may go on
            when_kept()
            raise
        when_kept()


def _is_keyed(asked: Asked) -> bool:
    return asked.idempotency_key is not None and asked.method not in IDEMPOTENT


def _key(asked: Asked, credential: Credential) -> str:
    challenge, payload, source = credential.challenge, credential.payload, credential.source
    return _hash([asked.idempotency_key, challenge.id, dict(payload), source])


def _request(asked: Asked) -> str:
    return _hash([asked.method, asked.path, asked.query.hex(), asked.body.digest()])


def _hash(parts: list[Any]) -> str:
    text = json.dumps(parts, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


def _packed(response: Replay) -> bytes:
    """Status and header fields as a line of JSON, then the body."""
    headers = [
        [name.decode("latin-1"), value.decode("latin-1")] for name, value in response.headers
    ]
    return json.dumps([response.status, headers]).encode() + b"\n" + response.body


def _unpacked(content: bytes) -> Replay:
    line, _, body = content.partition(b"\n")
    status, headers = json.loads(line)
    pairs = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers]
    return Replay(status, pairs, body)


def _taken() -> Answer:
    problem = problems.BAD_REQUEST.because(
        "This Idempotency-Key was used with this credential for another request; take another key."
    )
    return Answer(replace(problem, status=422))


def _too_large() -> Answer:
    problem = problems.BAD_REQUEST.because(
        "This request was carried out and answered before; its response was too large to be kept."
    )
    return Answer(replace(problem, status=409))
