"""Prices by path, for routes that cannot be decorated: ``PaymentMiddleware(prices={...})``.

A price holds for every spelling of its path, since a file server or proxy behind the route may
resolve what the router takes literally.
"""

from __future__ import annotations

import posixpath
import re
from contextlib import suppress
from dataclasses import dataclass
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import unquote

from starlette.routing import compile_path

from mpp_asgi.pricing import PriceError, Tariff

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from starlette.convertors import Convertor

_LEFT_OUT = re.compile(r"[\t\r\n]|[\0?#].*", re.DOTALL)
"""Of a path that is put into a URL, or handed to a program in C."""
_KEY = re.compile(r"(?:(?P<method>[A-Z]+|\*) +)?(?P<path>/\S*)")
_STARS = re.compile(r"\*+")
_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "QUERY")


@dataclass(frozen=True, slots=True, eq=False)
class PathPrice:
    """A price by method and path pattern."""

    method: str | None
    path: str
    tariff: Tariff | None
    """``None``: free, whatever later patterns say."""
    pattern: re.Pattern[str]
    convertors: Mapping[str, Convertor[Any]]

    def covers(self, http_method: str) -> bool:
        """Whether the price is for this method; one for every method is none for OPTIONS."""
        if self.method is None:
            return http_method != "OPTIONS"
        return http_method == self.method or (http_method == "HEAD" and self.method == "GET")

    def params(self, path: str) -> Mapping[str, Any] | None:
        """The path's parameters, ``None`` if it does not match."""
        match = self.pattern.match(path)
        if match is None:
            return None
        params: dict[str, Any] = match.groupdict()
        for name, text in params.items():
            with suppress(ValueError):  # a number of thousands of digits stays a text
                params[name] = self.convertors[name].convert(text)
        return params


class Found(NamedTuple):
    """The price of a path."""

    entry: PathPrice
    tariff: Tariff
    params: Mapping[str, Any]
    """The path's parameters."""
    is_certain: bool = True
    """Otherwise the path may be read as something of another price, and no telling which is more.
    """

    def is_enough_for(self, other: Found) -> bool:
        """Whether this price pays the other's as well."""
        if not self.tariff.is_enough_for(other.tariff):
            return False
        return self.tariff.quote is None or _plain(self.params) == _plain(other.params)


def path_price(key: str, tariff: Tariff | None) -> PathPrice:
    """Parse one entry of ``PaymentMiddleware(prices=...)``.

    Args:
        key: ``"GET /proxy/{path:path}"``, or a path alone for every method.
        tariff: ``None`` for free.

    Raises:
        PriceError: the key is no method and path.
    """
    parsed = _KEY.fullmatch(key.strip())
    if parsed is None:
        raise PriceError(f"prices={{{key!r}: ...}}: a key is 'GET /path' or '/path/{{name}}'")
    method = parsed["method"] if parsed["method"] != "*" else None
    if method is not None and method not in _METHODS:
        raise PriceError(_unknown_method(key, method, parsed["path"]))
    if "*" in parsed["path"]:
        meant = _STARS.sub("{path:path}", parsed["path"], count=1)
        raise PriceError(
            f"prices={{{key!r}: ...}}: a star stands for itself: write "
            f"'{method + ' ' if method else ''}{meant}'"
        )
    try:
        pattern, _, convertors = compile_path(parsed["path"])
    except (AssertionError, ValueError) as error:
        raise PriceError(f"prices={{{key!r}: ...}}: {error}") from None
    return PathPrice(method, parsed["path"], tariff, pattern, convertors)


def _unknown_method(key: str, method: str, path: str) -> str:
    close = get_close_matches(method, _METHODS, n=1, cutoff=0.65)
    advice = f"write '{close[0]} {path}'" if close else f"write one of {', '.join(_METHODS)}"
    return f"prices={{{key!r}: ...}}: there is no method {method}: {advice}"


class PathPrices:
    """All prices by path; the first that matches counts."""

    def __init__(self, entries: Iterable[PathPrice]) -> None:
        self._entries = tuple(entries)

    def __iter__(self) -> Iterator[PathPrice]:
        return iter(self._entries)

    def __bool__(self) -> bool:
        return bool(self._entries)

    def find(self, http_method: str, path: str) -> Found | None:
        """The price of a path: that of the dearest of its readings, since whoever takes the request
        may read it either way. ``None`` if it is free in all of them. Nor is the method's spelling
        anything to rely on: many applications take ``get`` for ``GET``."""
        http_method = http_method.upper()
        found = [
            first
            for spellings in _readings(path)
            if (first := self._first(http_method, *spellings)) is not None
        ]
        for each in found:
            if all(each.is_enough_for(other) for other in found):
                return each
        return found[0]._replace(is_certain=False) if found else None

    def _first(self, http_method: str, *paths: str) -> Found | None:
        """The price by the first entry for one of the paths."""
        for entry in self._entries:
            for path in paths if entry.covers(http_method) else ():
                params = entry.params(path)
                if params is not None:
                    return None if entry.tariff is None else Found(entry, entry.tariff, params)
        return None


def _readings(path: str) -> Iterator[tuple[str, ...]]:
    """What a path may mean to whoever reads it, each in the spellings that patterns have for it."""
    literal = (path,)
    yield literal
    resolved = _spellings(path)
    if resolved != literal:
        yield resolved
    if "%" in path:  # what a proxy is given decoded, its upstream may decode once more
        yield _spellings(unquote(path))


def _plain(params: Mapping[str, Any]) -> Mapping[str, Any]:
    """Parameters as a dynamic price may tell them apart, be there a slash more or less."""
    return {
        name: [part for part in value.split("/") if part] if isinstance(value, str) else value
        for name, value in params.items()
    }


def _spellings(path: str) -> tuple[str, ...]:
    plain = _resolved(path)
    return (plain, plain + "/") if path.endswith(("/", "\\")) else (plain,)


def _resolved(path: str) -> str:
    """A path as a file server or proxy may read it: ``//``, ``/.``, ``/..``, ``;parameters``,
    backslashes and a slash at the end resolved, and left out what they leave out."""
    whole = _LEFT_OUT.sub("", path).replace("\\", "/")
    segments = (segment.partition(";")[0] for segment in whole.split("/"))
    return "/" + posixpath.normpath("/".join(("", *segments))).lstrip("/")
