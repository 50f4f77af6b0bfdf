"""No content of an event can be taken for another event, however it is read."""

from __future__ import annotations

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mpp_asgi.sse import Event, EventError, event_of, payment_frame
from tests.session.event_source import Seen, read_by_splitlines, read_by_the_rules

LINE_ENDS = "\r\n\v\f\x1c\x1d\x1e\x85\u2028\u2029"
PIECES = [*LINE_ENDS, "\r\n", "\0", "\ufeff", " ", ":", "data:", "event: payment-receipt", "id: 7"]
PIECES += ["data: {}", "retry: 1", "é", "\N{SNOWMAN}", "\U0001f600", "\ud800"]
texts = st.lists(st.sampled_from(PIECES) | st.text(max_size=5), max_size=12).map("".join)
names = st.none() | st.sampled_from(["delta", "message", "response.output_text.delta", "x:y"])
values = st.recursive(
    st.none() | st.booleans() | st.integers() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
readers = pytest.mark.parametrize("read", [read_by_the_rules, read_by_splitlines])


@readers
@settings(max_examples=150, deadline=None)
@given(data=texts, name=names)
def test_a_text_stays_within_its_event(read, data, name) -> None:  # type: ignore[no-untyped-def] # of hypothesis
    body = Event("before").frame() + Event(data, name).frame() + Event("after").frame()
    before, seen, after = read(body)
    assert (before, after) == (Seen("message", "before"), Seen("message", "after"))
    said = re.sub("\r\n|[" + LINE_ENDS + "]", "\n", data).encode("utf-8", "replace").decode()
    assert seen == Seen(name or "message", said)


@readers
@settings(max_examples=100, deadline=None)
@given(data=st.dictionaries(texts, values, max_size=3) | st.lists(values, max_size=3))
def test_json_arrives_exactly(read, data) -> None:  # type: ignore[no-untyped-def] # of hypothesis
    (seen,) = read(Event(data).frame())
    assert json.loads(seen.data) == data


@readers
@settings(max_examples=50, deadline=None)
@given(frames=st.lists(texts, max_size=6))
def test_as_many_events_arrive_as_were_sent(read, frames) -> None:  # type: ignore[no-untyped-def] # of hypothesis
    body = b"".join(Event(text, id=str(number)).frame() for number, text in enumerate(frames))
    assert [seen.id for seen in read(body)] == [str(number) for number in range(len(frames))]


@pytest.mark.parametrize("name", ["", "a b", "a\nb", "a\rb", "a\u2028b", "a\0b", "é", "x" * 129])
def test_a_name_that_could_end_a_line_is_refused(name: str) -> None:
    with pytest.raises(EventError, match="printable ASCII"):
        Event("", name)
    with pytest.raises(EventError, match="printable ASCII"):
        Event("", id=name)


@pytest.mark.parametrize("name", ["payment-receipt", "payment-need-voucher", "Payment-X"])
def test_content_has_no_name_that_speaks_of_money(name: str) -> None:
    with pytest.raises(EventError, match="must not begin"):
        Event("", name)


def test_what_speaks_of_money() -> None:
    frame = payment_frame("need-voucher", {"channelId": "C\n\n"})
    assert frame == b'event: payment-need-voucher\ndata: {"channelId":"C\\n\\n"}\n\n'


@pytest.mark.parametrize("item", [b"bytes", 7, None, object()])
def test_what_is_no_event_is_refused(item: object) -> None:
    with pytest.raises(EventError, match="texts"):
        event_of(item)


@pytest.mark.parametrize("data", [{"a": float("nan")}, {"a": object()}, [b""]])
def test_what_json_cannot_say_is_refused(data: dict[str, object]) -> None:
    with pytest.raises(EventError, match="JSON"):
        Event(data).frame()
