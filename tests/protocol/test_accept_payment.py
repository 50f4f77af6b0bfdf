"""`Accept-Payment`: what is read, and which offers it leaves in which order."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mpp_asgi.protocol import AcceptPayment, ProtocolError, arrange
from mpp_asgi.protocol.accept import MAX_RANGES

OFFERS = ["stellar/session", "stellar/charge", "card/charge", "ln/charge"]


def split(offer: str) -> tuple[str, str]:
    method, _, intent = offer.partition("/")
    return method, intent


@pytest.mark.parametrize(
    ("value", "arranged"),
    [
        ("stellar/charge", ["stellar/charge"]),
        ("ln/charge, stellar/charge", ["stellar/charge", "ln/charge"]),
        ("ln/charge, stellar/charge;q=0.5", ["ln/charge", "stellar/charge"]),
        ("stellar/*", ["stellar/session", "stellar/charge"]),
        ("*/charge", ["stellar/charge", "card/charge", "ln/charge"]),
        ("*/*", OFFERS),
        (
            "*/*;q=0.1, card/charge",
            ["card/charge", "stellar/session", "stellar/charge", "ln/charge"],
        ),
        ("stellar/*, stellar/session;q=0", ["stellar/charge"]),
        ("*/*, stellar/*;q=0", ["card/charge", "ln/charge"]),
        (
            "stellar/*;q=0.2, */charge;q=0.9",
            ["card/charge", "ln/charge", "stellar/session", "stellar/charge"],
        ),
        (
            "stellar/*;q=0.2, */charge;q=0, ln/charge;q=0.001",
            ["stellar/session", "stellar/charge", "ln/charge"],
        ),
        ("ln/charge;q=0.999, card/charge;q=1.000", ["card/charge", "ln/charge"]),
        ("card/charge ; q=0.5,\tln/charge\t;\tQ=0.6", ["ln/charge", "card/charge"]),
        ("card/charge;q=0.2, card/charge;q=0.8, ln/charge;q=0.5", ["card/charge", "ln/charge"]),
        (", ,card/charge,,", ["card/charge"]),
        ("x402-v2/charge, vendor:pay_1/charge, ln/charge", ["ln/charge"]),
    ],
)
def test_offers_are_kept_and_ordered(value: str, arranged: list[str]) -> None:
    assert AcceptPayment.from_header(value).arrange(OFFERS, key=split) == arranged
    assert arrange(value, OFFERS, key=split) == arranged


@pytest.mark.parametrize(
    "value", ["", ",", "paypal/charge", "stellar/subscription", "*/*;q=0", "stellar/charge;q=0.000"]
)
def test_when_nothing_is_left_everything_is_offered(value: str) -> None:
    assert AcceptPayment.from_header(value).arrange(OFFERS, key=split) == OFFERS


@pytest.mark.parametrize(
    "value",
    [
        "stellar",
        "stellar/",
        "/charge",
        "stellar/charge/x",
        "Stellar/charge",
        "stellar/char ge",
        "stellar charge",
        "stellar/charge;q=2",
        "stellar/charge;q=1.001",
        "stellar/charge;q=0.1234",
        "stellar/charge;q=.5",
        "stellar/charge;q=-1",
        "stellar/charge;q=",
        "stellar/charge;q",
        "stellar/charge;v=1",
        "stellar/charge;q=0.5;q=0.6",
        "stellar/charge; q = 0.5",
        "card/charge, oops",
        "st*/charge",
        "stellar/charge\n",
        ",".join(["a/b"] * (MAX_RANGES + 1)),
    ],
)
def test_malformed_values_are_ignored(value: str) -> None:
    with pytest.raises(ProtocolError) as caught:
        AcceptPayment.from_header(value)
    assert caught.value.part == "accept-payment"
    assert arrange(value, OFFERS, key=split) == OFFERS


def test_absent_means_everything() -> None:
    assert arrange(None, iter(OFFERS), key=split) == OFFERS


names = st.sampled_from(["*", "stellar", "card", "ln"])
intents = st.sampled_from(["*", "charge", "session"])
qualities = st.sampled_from(["", ";q=0", ";q=0.25", ";q=0.5", ";q=1"])
headers = st.lists(st.builds("{}/{}{}".format, names, intents, qualities), max_size=5).map(",".join)


@given(headers, st.permutations(OFFERS))
def test_the_choice_is_stable_and_adds_nothing(value: str, offers: list[str]) -> None:
    accept = AcceptPayment.from_header(value)
    arranged = accept.arrange(offers, key=split)
    weights = [accept.weight(*split(offer)) for offer in arranged]
    if not any(accept.weight(*split(offer)) for offer in offers):
        assert arranged == offers
        return
    assert weights == sorted(weights, reverse=True)
    assert set(arranged) == {offer for offer in offers if accept.weight(*split(offer))}
    for first, second in itertools.pairwise(arranged):
        if accept.weight(*split(first)) == accept.weight(*split(second)):
            assert offers.index(first) < offers.index(second)


@given(st.text(max_size=40) | st.from_regex(r"[a-z*/;q=0.1, ]{0,40}", fullmatch=True))
def test_any_text_is_read_or_refused(value: str) -> None:
    assert set(arrange(value, OFFERS, key=split)) <= set(OFFERS)
