"""What may be wrong with whoever settles."""

from __future__ import annotations

from dataclasses import dataclass

ALWAYS = 10**6


@dataclass(slots=True)
class Trouble:
    """Something that goes wrong.

    ``at`` says with what: to ``verify`` a payment, to ``settle`` it, or on the ``chain``. ``kind``
    says how: an error (``500``), an answer that is none (``garbage``), one that breaks off
    (``cut``), none until everything is well again (``hang``); on the chain: ``reverted``, ``late``.
    """

    at: str
    kind: str
    is_after: bool = False
    """The call has its effect, and then the answer goes wrong."""
    times: int = ALWAYS
    payer: str = ""
    """Whose calls; everybody's if nobody's."""

    def __str__(self) -> str:
        when = " after its effect" if self.is_after else ""
        return f"{self.at}: {self.kind}{when}"
