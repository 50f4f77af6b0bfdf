"""How hypothesis makes the values of the protocol, and how the work of reading is measured.

`st.from_type` makes a `Challenge`, `Credential` or `Receipt`.
"""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import strategies as st

from mpp_asgi.protocol import Challenge, Credential, Receipt, encode_object, format_timestamp

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType

# Any text a header field or a JSON string may carry: no control characters, no lone surrogates.
texts = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=20)
unbound = st.none() | texts
bound = texts.map(lambda text: text.replace("|", "/"))
safe_integers = st.integers(-(2**53) + 1, 2**53 - 1)
# Whole doubles from 2**53 to 1e21 are written as integers that read back as too large to be exact.
doubles = st.floats(allow_nan=False, allow_infinity=False).filter(
    lambda number: not 2**53 <= abs(number) < 1e21
)
numbers = safe_integers | doubles
values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
objects = st.dictionaries(texts, values, max_size=4)
flat_objects = st.dictionaries(texts, texts, max_size=3)
moments = st.integers(0, 4_000_000_000).map(format_timestamp)

challenges = st.builds(
    Challenge,
    id=texts,
    realm=bound,
    method=st.from_regex(r"[a-z]{1,12}", fullmatch=True),
    intent=st.from_regex(r"[A-Za-z0-9-]{1,12}", fullmatch=True),
    request=objects.map(encode_object),
    expires=st.none() | moments,
    digest=st.none() | bound,
    description=unbound,
    opaque=st.none() | flat_objects.map(encode_object),
    header=st.none() | st.sampled_from(["Authorization", "Payment-Authorization", "X-Pay"]),
)
credentials = st.builds(Credential, challenge=challenges, payload=objects, source=unbound)
receipts = st.builds(
    Receipt,
    method=texts,
    reference=texts,
    timestamp=moments,
    status=st.just("success"),
    external_id=unbound,
    extra=st.dictionaries(
        texts.filter(
            lambda name: name not in {"method", "reference", "timestamp", "status", "externalId"}
        ),
        values.filter(lambda value: value is not None),
        max_size=3,
    ),
)

st.register_type_strategy(Challenge, challenges)
st.register_type_strategy(Credential, credentials)
st.register_type_strategy(Receipt, receipts)


@pytest.fixture(scope="session")
def lines_run() -> Callable[[Callable[[], object]], int]:
    """Counts the lines of Python a call executes: its work, which no clock and no load changes."""

    def count(call: Callable[[], object]) -> int:
        lines = 0

        def tracer(frame: FrameType, event: str, arg: object) -> Any:
            nonlocal lines
            lines += 1
            return tracer

        previous = sys.gettrace()
        sys.settrace(tracer)
        try:
            call()
        finally:
            sys.settrace(previous)
        return lines

    return count
