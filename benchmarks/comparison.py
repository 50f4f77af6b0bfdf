"""One app against another: both under load in turn, in the same short rounds, so that whatever else
the machine does falls on both alike; then the median of the rounds' ratios."""

from __future__ import annotations

from dataclasses import dataclass
from statistics import median
from typing import TYPE_CHECKING

from benchmarks import cores, load
from benchmarks.server import serving

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from benchmarks.server import Server

    Drive = Callable[[load.Plan], Sequence[load.Tally]]

SITTINGS = 3
"""How often both servers are started anew: where a process happens to have its memory can be worth
some hundredths."""
ROUNDS = 3
"""In each sitting."""


class WrongAnswerError(Exception):
    """A response had another status than the one being measured."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """What is measured: an app, the requests it gets and the status it has to answer."""

    app: str
    requests: load.Requests
    status: int = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class Measure:
    """One subject in one round."""

    rate: float
    """Responses per second."""
    server_share: float
    """The part of its core that the server used; 1.0: it was the limit, and nothing else."""
    load_share: float
    """The part of its core that the load generator used."""

    @classmethod
    def of(cls, subject: Subject, tally: load.Tally, server_cpu_seconds: float) -> Measure:
        """What a tally and the CPU time of the server come to.

        Raises:
            WrongAnswerError: a response had another status than the subject's.
        """
        if set(tally.statuses) != {subject.status}:
            raise WrongAnswerError(f"{subject.app} answered {tally.statuses}, not {subject.status}")
        return cls(
            rate=tally.rate,
            server_share=server_cpu_seconds / tally.seconds,
            load_share=tally.load_cpu_seconds / tally.seconds,
        )


@dataclass(frozen=True, slots=True)
class Comparison:
    """Rounds of a baseline and a subject: pairs in that order."""

    rounds: Sequence[tuple[Measure, Measure]]

    @property
    def ratios(self) -> list[float]:
        """The subject's rate relative to the baseline's, round by round."""
        return [subject.rate / base.rate for base, subject in self.rounds]

    @property
    def ratio(self) -> float:
        return median(self.ratios)

    @property
    def base_rate(self) -> float:
        """The baseline's, in responses per second."""
        return median(base.rate for base, _ in self.rounds)

    @property
    def extra_microseconds(self) -> float:
        """What one request costs more than the baseline's, in microseconds."""
        return median(1e6 / subject.rate - 1e6 / base.rate for base, subject in self.rounds)

    @property
    def server_share(self) -> float:
        return median(measure.server_share for pair in self.rounds for measure in pair)

    @property
    def load_share(self) -> float:
        return median(measure.load_share for pair in self.rounds for measure in pair)


def compare(
    base: Subject,
    subject: Subject,
    drive: Drive,
    *,
    sittings: int = SITTINGS,
    rounds: int = ROUNDS,
    seconds: float = 1.75,
) -> Comparison:
    """Measure ``subject`` against ``base``: so many rounds in each of so many sittings, and in each
    round either is under load for so long.

    Raises:
        WrongAnswerError: a response had another status than its subject's.
    """
    return Comparison(
        [
            measured
            for _ in range(sittings)
            for measured in _sitting(base, subject, drive, rounds, seconds)
        ]
    )


def _sitting(
    base: Subject, subject: Subject, drive: Drive, rounds: int, seconds: float
) -> list[tuple[Measure, Measure]]:
    with serving(base.app) as base_server, serving(subject.app) as subject_server:
        pair = ((base, base_server), (subject, subject_server))
        _round(pair, drive, seconds)  # warms up
        return [_round(pair, drive, seconds) for _ in range(rounds)]


def _round(
    pair: tuple[tuple[Subject, Server], tuple[Subject, Server]], drive: Drive, seconds: float
) -> tuple[Measure, Measure]:
    targets = [load.Target(port=server.port, requests=who.requests) for who, server in pair]
    before = [cores.cpu_seconds(server.pid) for _, server in pair]
    tallies = drive(load.Plan(targets=targets, seconds=seconds))
    after = [cores.cpu_seconds(server.pid) for _, server in pair]
    base, subject = (
        Measure.of(who, tally, cpu_after - cpu_before)
        for (who, _), tally, cpu_before, cpu_after in zip(pair, tallies, before, after, strict=True)
    )
    return base, subject
