"""What others published, boiled down to the data in it.

``python -m tests.sandbox.public_examples.gathered CLONES`` writes the files beside it anew, from
a folder that holds clones of the repositories that the README names.
"""

from __future__ import annotations

import ast
import gzip
import json
import sys
from hashlib import sha256
from pathlib import Path
from typing import TYPE_CHECKING, Any

from stellar_sdk import xdr

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

HERE = Path(__file__).parent
PASSPHRASES = {
    "public": "Public Global Stellar Network ; September 2015",
    "testnet": "Test SDF Network ; September 2015",
}
_CORPUS = "js-stellar-sdk/test/fixtures"
_RPC = "stellar-docs/openrpc/src/stellar-rpc"
_PYTHON_TESTS = "py-stellar-base/tests"


def records(name: str) -> list[dict[str, Any]]:
    """What one of the committed files holds, a record a line."""
    with gzip.open(HERE / f"{name}.jsonl.gz", "rt", encoding="utf-8") as lines:
        return [json.loads(line) for line in lines]


def network_id(name: str) -> bytes:
    return sha256(PASSPHRASES[name].encode()).digest()


def _write(name: str, found: Iterable[dict[str, Any]]) -> None:
    text = "".join(json.dumps(record, sort_keys=True) + "\n" for record in found)
    packed = gzip.compress(text.encode(), 9, mtime=0)
    (HERE / f"{name}.jsonl.gz").write_bytes(packed)


def _json(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def _literals(path: Path) -> Iterator[dict[str, Any]]:
    """The literal dictionaries in a Python file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Dict):
            try:
                yield ast.literal_eval(node)
            except ValueError:
                continue


def _within(value: Any) -> Iterator[dict[str, Any]]:
    """All objects in a JSON value."""
    if isinstance(value, dict):
        yield value
    inner = value.values() if isinstance(value, dict) else value
    if isinstance(value, dict | list):
        for each in inner:
            yield from _within(each)


def _transaction(source: str, network: str, raw: dict[str, Any]) -> dict[str, Any]:
    names = {
        "hash": ("txHash", "hash"),
        "envelope": ("envelopeXdr", "envelope_xdr"),
        "result": ("resultXdr", "result_xdr"),
        "meta": ("resultMetaXdr",),
        "fee_changes": ("fee_meta_xdr",),
        "diagnostics": ("diagnosticEventsXdr",),
        "events": ("events",),
        "ledger": ("ledger",),
        "closed": ("createdAt",),
        "order": ("applicationOrder",),
        "fee_bump": ("feeBump",),
    }
    found = {own: raw[name] for own, given in names.items() for name in given if name in raw}
    return {"source": source, "network": network, **found}


def transactions(clones: Path) -> Iterator[dict[str, Any]]:
    for kind in ("rpc-corpus", "horizon-corpus"):
        for raw in _json(clones / _CORPUS / kind / "transactions.json")["records"]:
            yield _transaction(kind, "public", raw)
    known: dict[str, dict[str, Any]] = {}
    for raw in _within(_json(clones / _RPC / "examples/Transactions.json")):
        if "envelopeXdr" in raw and "resultXdr" in raw:
            known.setdefault(raw["txHash"], _transaction("docs", "testnet", raw))
    yield from known.values()


def _header(raw: str) -> tuple[str, str | None]:
    """A bare header of what is one, or a ``LedgerHeaderHistoryEntry``; and the latter's hash."""
    try:
        entry = xdr.LedgerHeaderHistoryEntry.from_xdr(raw)
    except Exception:  # noqa: BLE001 - the decoder raises bare Exceptions of its own
        return raw, None
    return entry.header.to_xdr(), entry.hash.hash.hex()


def ledgers(clones: Path) -> Iterator[dict[str, Any]]:
    """Headers, one for each ledger of a network; with the whole ledger where that is published."""
    known: dict[tuple[str, int], dict[str, Any]] = {}
    sources: list[tuple[str, Iterable[dict[str, Any]]]] = [  # the last are of several networks
        ("public", _json(clones / _CORPUS / "rpc-corpus/ledgers.json")["records"]),
        ("public", _json(clones / _CORPUS / "horizon-corpus/ledgers.json")["records"]),
        ("testnet", _within(_json(clones / _RPC / "examples/Ledgers.json"))),
        ("other", _literals(clones / _PYTHON_TESTS / "test_soroban_server_async.py")),
    ]
    for network, found in sources:
        for raw in found:
            encoded = raw.get("headerXdr") or raw.get("header_xdr")
            if encoded is None:
                continue
            header, name = _header(encoded)
            record = known.setdefault((network, raw["sequence"]), {"network": network})
            record |= {"sequence": raw["sequence"], "header": header}
            if name is not None or "hash" in raw:
                record["hash"] = name or raw["hash"]
            if "metadataXdr" in raw:
                meta = xdr.LedgerCloseMeta.from_xdr(raw["metadataXdr"])
                whole = meta.v1 or meta.v2
                record["meta"] = raw["metadataXdr"]
                record["hash"] = whole.ledger_header.hash.hash.hex()
    yield from (known[key] for key in sorted(known))


def authorizations(clones: Path) -> Iterator[dict[str, Any]]:
    """Entries whose payload's hash is published; the same hash for each entry of a test."""
    tree = ast.parse((clones / _PYTHON_TESTS / "test_auth.py").read_text(encoding="utf-8"))
    for function in ast.walk(tree):
        if isinstance(function, ast.FunctionDef) and "vector" in function.name:
            nodes = [node for node in ast.walk(function) if isinstance(node, ast.Constant)]
            texts = [node.value for node in nodes if isinstance(node.value, str)]
            (payload,) = (text for text in texts if len(text) == 64 and text.islower())
            for text in texts:
                if text.startswith("AAAA"):
                    yield {"network": "testnet", "entry": text, "payload": payload}


def rpc(clones: Path) -> Iterator[dict[str, Any]]:
    """Requests and results of RPC examples, each with the method that it is an example of."""
    examples: dict[str, Any] = {}
    for path in sorted((clones / _RPC / "examples").glob("*.json")):
        examples |= {f"#/components/examples/{name}": each for name, each in _json(path).items()}
    pairs: dict[str, Any] = {}
    for path in sorted((clones / _RPC / "examplePairingObjects").glob("*.json")):
        for name, pair in _json(path).items():
            pairs[f"#/components/examplePairingObjects/{name}"] = pair
    for path in sorted((clones / _RPC / "methods").glob("*.json")):
        method = _json(path)
        for given in method.get("examples", ()):
            pair = _resolved(given, pairs)
            params = [_resolved(each, examples) for each in pair["params"]]
            yield {
                "method": method["name"],
                "params": {each["name"]: each["value"] for each in params},
                "result": _resolved(pair["result"], examples)["value"],
            }


def _resolved(part: dict[str, Any], known: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = known[part["$ref"]] if "$ref" in part else part
    return found


def main(clones: Path) -> None:
    _write("transactions", transactions(clones))
    _write("ledgers", ledgers(clones))
    _write("authorizations", authorizations(clones))
    _write("rpc", rpc(clones))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
