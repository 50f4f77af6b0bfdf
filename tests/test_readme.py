"""What README.md and docs/ say is run, parsed or compared here, so that it cannot go stale."""

from __future__ import annotations

import argparse
import ast
import importlib.util
import inspect
import re
import shlex
import tomllib
from pathlib import Path
from typing import Any

import pytest
from starlette.testclient import TestClient

from mpp_asgi import Payment, Settings, client, tariff
from mpp_asgi.cli.parser import build_parser
from mpp_asgi.config import ENVIRONMENT_PREFIX
from mpp_asgi.heart import LIFE_SECONDS
from mpp_asgi.protocol import problems
from mpp_asgi.sandbox import Sandbox
from mpp_asgi.stellar.admissions import RECORD_SECONDS, REDELIVERY_SECONDS
from tests.servers import served

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
DOCUMENTS = (README, *sorted((ROOT / "docs").glob("*.md")))
VARIABLES = {ENVIRONMENT_PREFIX + name.upper() for name in Settings.model_fields}


def blocks(document: Path, language: str) -> list[str]:
    """The fenced blocks of one language, in order."""
    return re.findall(rf"^```{language}\n(.*?)^```", document.read_text(), re.MULTILINE | re.DOTALL)


def table(document: Path, heading: str) -> list[list[str]]:
    """The rows of the table with that first column, without code marks."""
    rows = re.findall(
        rf"^\| {heading} \|.*\n\|[-|]+\|\n((?:\|.*\n)+)", document.read_text(), re.MULTILINE
    )
    assert len(rows) == 1, f"{document.name} has no table of {heading!r}"
    return [
        [cell.strip().strip("`") for cell in row.split("|")[1:-1]] for row in rows[0].splitlines()
    ]


def commands() -> list[tuple[str, str]]:
    """Every command in a shell block, without its comment."""
    lines = [
        (document.name, shlex.join(shlex.split(line, comments=True)))
        for document in DOCUMENTS
        for block in blocks(document, "sh")
        for line in block.splitlines()
    ]
    return [(name, line) for name, line in lines if line]


@pytest.fixture(scope="module")
def story() -> dict[str, Any]:
    """Everything that the README's Python defines, run from top to bottom as one program."""
    told: dict[str, Any] = {}
    for block in blocks(README, "python"):
        exec(compile(block, "README.md", "exec"), told)
    return told


# --- Python ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("method", "path", "body", "price"),
    [
        ("GET", "/forecast/paris", None, "0.01 USDC"),
        ("GET", "/map", None, "0.05 USDC"),
        ("GET", "/reports/small", None, "0.05 USDC"),
        ("GET", "/reports/large", None, "0.25 USDC"),
        ("GET", "/reports/medium", None, "0.10 USDC"),
        ("POST", "/translations", "word " * 20, "0.002"),
        ("POST", "/translations", "word " * 10, None),
        ("GET", "/search?q=x", None, "0.03 USDC"),
    ],
)
def test_every_price_of_the_readme_is_asked(
    story: dict[str, Any], method: str, path: str, body: str | None, price: str | None
) -> None:
    with TestClient(story["app"]) as visitor:
        answer = visitor.request(method, path, content=body)
    if price is None:
        assert answer.status_code == 200
        assert answer.json() == {"text": (body or "")[::-1], "paid_by": None}
    else:
        assert answer.status_code == 402
        assert re.search(rf"\b{re.escape(price.rstrip('0'))}0* ?", answer.json()["detail"])


def test_prices_by_path_hold(story: dict[str, Any]) -> None:
    with TestClient(story["shop"]) as visitor:
        assert visitor.get("/files/index.html").status_code == 404
        assert visitor.get("/files/README.md").status_code == 402


def test_browsers_may_read_what_they_have_to_pay(story: dict[str, Any]) -> None:
    origin = {"Origin": "https://shop.example.com"}
    asks = {
        **origin,
        "Access-Control-Request-Method": "GET",
        "Access-Control-Request-Headers": "authorization",
    }
    with TestClient(story["app"]) as visitor:
        answer = visitor.get("/forecast/paris", headers=origin)
        preflight = visitor.options("/forecast/paris", headers=asks)
    assert answer.status_code == 402
    assert answer.headers["Access-Control-Allow-Origin"] == "*"
    assert "WWW-Authenticate" in answer.headers["Access-Control-Expose-Headers"]
    assert preflight.status_code == 200
    assert "Authorization" in preflight.headers["Access-Control-Allow-Headers"]


async def test_the_test_in_the_readme_passes(story: dict[str, Any]) -> None:
    await story["test_forecast"]()


def test_the_first_screen_is_the_whole_app() -> None:
    with TestClient(_run(blocks(README, "python")[0])["app"]) as visitor:
        assert visitor.get("/forecast/paris").status_code == 402


@pytest.mark.parametrize("document", DOCUMENTS[1:], ids=lambda path: path.name)
def test_every_block_of_a_document_stands_alone(document: Path) -> None:
    for block in blocks(document, "python"):
        _run(block)


def test_an_app_of_the_readme_sells_to_the_payer_of_the_docs() -> None:
    app = _run(blocks(README, "python")[0])["app"]
    (told,) = (b for b in blocks(ROOT / "docs/paying.md", "python") if "buy_a_forecast" in b)
    with served(app) as url:
        assert _run(told)["buy_a_forecast"](url) == {"paris": "sunny"}


def _run(block: str) -> dict[str, Any]:
    told: dict[str, Any] = {}
    exec(compile(ast.parse(block), "block", "exec"), told)
    return told


# --- commands -------------------------------------------------------------------------------------


def ask_a_sandbox(arguments: list[str]) -> None:
    """What curl is told to ask, without curl: it is answered."""
    parser = argparse.ArgumentParser()
    parser.add_argument("-X", dest="method", default="GET")
    parser.add_argument("-d", dest="data")
    parser.add_argument("-o", dest="output")
    parser.add_argument("--data-binary", dest="file")
    parser.add_argument("url")
    told = parser.parse_args(arguments)
    sandbox = Sandbox(admin=True)
    content = sandbox.snapshot().to_bytes() if told.file else told.data
    with TestClient(sandbox.app, client=("127.0.0.1", 1)) as client:
        path = told.url.removeprefix("localhost:8545")
        assert client.request(told.method, path, content=content).status_code == 200


def assert_installable(requirement: str) -> None:
    """The project itself, with extras that it has."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    name, _, extras = requirement.partition("[")
    assert name == project["name"]
    assert set(extras.removesuffix("]").split(",")) <= project["optional-dependencies"].keys()
    least = project["requires-python"].removeprefix(">=")
    assert f"# Python {least} or newer" in README.read_text()


@pytest.mark.parametrize(("document", "line"), commands())
def test_every_command_exists(document: str, line: str) -> None:
    words = shlex.split(line)
    while words and re.fullmatch(r"[A-Z_]+=\S*", words[0]):
        assert words.pop(0).split("=")[0] in VARIABLES | {"STELLAR_SECRET"}
    program, *arguments = words
    match program:
        case "mpp-asgi":
            assert callable(build_parser().parse_args(arguments).run)
        case "make":
            assert re.search(rf"^{arguments[0]}:", (ROOT / "Makefile").read_text(), re.MULTILINE)
        case "uvicorn":
            assert arguments[0] == "example_app.main:app"
        case "python":
            assert importlib.util.find_spec(arguments[1]) is not None
        case "export":
            assert arguments[0].split("=")[0] in VARIABLES
        case "pip":
            assert arguments[0] == "install"
            assert_installable(arguments[1])
        case "curl":
            ask_a_sandbox(arguments)
        case _:
            pytest.fail(f"{document} names a command that nothing here checks: {line}")


# --- tables and links -----------------------------------------------------------------------------


def test_the_table_of_settings_is_complete_and_right() -> None:
    rows = table(README, "argument")
    assert [row[0] for row in rows] == list(Settings.model_fields)
    for argument, variable, default, meaning in rows:
        expected = Settings.model_fields[argument].get_default(call_default_factory=True)
        said = str(expected).lower() if isinstance(expected, bool) else str(expected)
        if argument == "network" or expected in (None, "", {}, ()):
            said = ""
        assert default == said, argument
        assert variable == ("" if argument == "tokens" else ENVIRONMENT_PREFIX + argument.upper())
        assert meaning


def test_the_table_of_problems_is_complete_and_right() -> None:
    charge = [each for each in problems.CATALOGUE if not each.slug.startswith("session/")]
    rows = table(ROOT / "docs/paying.md", "type")
    assert {row[0]: row[1] for row in rows} == {each.slug: str(each.status) for each in charge}


def test_the_table_of_errors_is_complete() -> None:
    errors = {
        name
        for name, member in vars(client).items()
        if inspect.isclass(member) and issubclass(member, client.PaymentError)
    }
    rows = table(ROOT / "docs/paying.md", "error")
    assert {row[0] for row in rows} == errors - {"PaymentError"}


def test_the_tables_of_payments_and_tariffs_are_complete() -> None:
    reference = ROOT / "docs/reference.md"
    properties = {name for name, each in vars(Payment).items() if isinstance(each, property)}
    assert {row[0] for row in table(reference, "field")} == {*Payment._fields, *properties}
    assert [row[0] for row in table(reference, "argument")] == list(
        inspect.signature(tariff).parameters
    )


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_link_leads_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)]+)\)", document.read_text()):
        if not target.startswith("https://"):
            assert (document.parent / target.partition("#")[0]).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_variable_exists(document: Path) -> None:
    assert set(re.findall(r"\bMPP_[A-Z_]+\b", document.read_text())) <= VARIABLES


def test_spans_of_time_are_the_codes_own() -> None:
    text = README.read_text() + (ROOT / "docs/deployment.md").read_text()
    assert ("a quarter of a minute" in text, LIFE_SECONDS) == (True, 15)
    assert ("two days" in text, RECORD_SECONDS) == (True, 2 * 24 * 3600)
    assert ("claimed for a day" in text, REDELIVERY_SECONDS) == (True, 24 * 3600)
    assert Settings.model_fields["challenge_seconds"].default == 5 * 60  # "for five minutes"
    settle = Settings.model_fields["settle_seconds"].default
    waits = re.findall(r"proxy_read_timeout (\d+)s", text)
    assert len(waits) == 2
    assert all(int(seconds) > 2 * settle for seconds in waits)


def test_loggers_have_the_names_that_operators_are_told() -> None:
    written = {
        name
        for path in (ROOT / "mpp_asgi").rglob("*.py")
        for name in re.findall(r'getLogger\("(.+?)"\)', path.read_text())
    }
    told = set(re.findall(r"`(mpp_asgi[.a-z]*)`", (ROOT / "docs/deployment.md").read_text()))
    assert told == written
