"""Whose challenge a credential answers to: whether we issued it, and which intent for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mpp_asgi.intents import RefusalError
from mpp_asgi.protocol import Credential, ProtocolError, problems

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mpp_asgi.intents import Intent
    from mpp_asgi.protocol import Challenge, Secrets

Recognized = tuple["Credential", "Intent", bool]
"""A credential, whose it is, and whether its challenge is good for any number of requests."""

MOST_REMEMBERED = 1024
LONGEST_REMEMBERED = 4096
"""Characters; a session's voucher takes some 1,500."""


class Recognition:
    """Reads credentials, and knows our own challenges again. It asks no clock and no store.

    Args:
        intents: the ways to pay.
        secrets: bind the challenges.
    """

    def __init__(self, intents: Iterable[Intent], secrets: Secrets) -> None:
        self._by_name = {(intent.method, intent.name): intent for intent in intents}
        self._secrets = secrets
        self._shown_once: set[int] = set()
        self._shown_often: dict[str, Recognized] = {}

    def of(self, value: str) -> Recognized:
        """What is in a credential header's value, scheme included.

        Raises:
            RefusalError: it is no credential, or its challenge is not ours.
        """
        return self._shown_often.get(value) or self._read(value)

    def _read(self, value: str) -> Recognized:
        try:
            credential = Credential.of_unproven(value)
            challenge = credential.challenge
            is_ours = self._secrets.authentic(challenge)
            if not is_ours:  # what is ours is spelled as we spell it
                credential.check_encodings()
        except ProtocolError as error:
            raise RefusalError(problems.MALFORMED_CREDENTIAL.because(str(error))) from None
        if not is_ours:
            raise not_ours("This challenge was not issued here, or was changed.", challenge)
        intent = self._by_name.get((challenge.method, challenge.intent))
        if intent is None:
            raise RefusalError(
                problems.METHOD_UNSUPPORTED.because(
                    "This way to pay is not taken here.", challenge_id=challenge.id
                )
            )
        if intent.reusable_seconds is None:
            return credential, intent, False
        recognized = (credential, intent, True)
        self._remember(value, recognized)
        return recognized

    def _remember(self, value: str, recognized: Recognized) -> None:
        """What comes a second time will come often: then it need not be read again."""
        mark = hash(value)
        if mark in self._shown_once and len(value) <= LONGEST_REMEMBERED:
            if len(self._shown_often) >= MOST_REMEMBERED:
                self._shown_often.clear()
            self._shown_often[value] = recognized
        elif len(self._shown_once) >= MOST_REMEMBERED:
            self._shown_once.clear()
        self._shown_once.add(mark)


def not_ours(detail: str, challenge: Challenge) -> RefusalError:
    """The refusal of a challenge that is not good here."""
    return RefusalError(problems.INVALID_CHALLENGE.because(detail, challenge_id=challenge.id))
