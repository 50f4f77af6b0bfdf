"""What the conformance tests share: the public vectors, the adapter, a server for the flows."""

from __future__ import annotations

import importlib.util
import json
import socket
import sys
import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager
    from types import ModuleType

HERE = Path(__file__).parent
PUBLIC_VECTORS = HERE.parents[2] / "shared" / "data" / "mpp-conformance"


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line(
        "markers",
        "public(name, key, where=all): run with each `scenario` of one file of the public vectors "
        "that `where` accepts; skipped where the folder is not beside the repository",
    )


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    marker = metafunc.definition.get_closest_marker("public")
    if marker is None:
        return
    name, key = marker.args
    where = marker.kwargs.get("where", bool)
    path = PUBLIC_VECTORS / f"{name}.json"
    if path.exists():
        scenarios = json.loads(path.read_text("utf-8"))[key]
        parameters = [
            pytest.param(scenario, id=scenario["name"]) for scenario in scenarios if where(scenario)
        ]
    else:
        absent = pytest.mark.skip(reason=absence(path))
        parameters = [pytest.param(None, marks=absent, id=name)]
    metafunc.parametrize("scenario", parameters)


def absence(path: Path) -> str:
    return f"the public vectors are not beside the repository: no {path.name}"


def load(name: str) -> ModuleType:
    """A module of this folder, which is no package."""
    spec = importlib.util.spec_from_file_location(f"conformance_{name}", HERE / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(scope="session")
def adapter() -> Any:
    """The conformance adapter, in this process."""
    return load("adapter")


@pytest.fixture(scope="session")
def adapter_path() -> Path:
    return HERE / "adapter.py"


@pytest.fixture(scope="session")
def call(adapter: Any) -> Callable[[str, dict[str, Any]], dict[str, Any]]:
    """One operation of the adapter, in this process."""

    def respond(operation: str, given: dict[str, Any]) -> dict[str, Any]:
        response: dict[str, Any] = adapter.respond({"schema": 1, "op": operation, "input": given})
        return response

    return respond


@pytest.fixture(scope="session")
def public_vectors() -> Callable[[str], dict[str, Any]]:
    """Reads one file of the public vectors; skips where the folder is not."""

    def read(name: str) -> dict[str, Any]:
        path = PUBLIC_VECTORS / f"{name}.json"
        if not path.exists():
            pytest.skip(absence(path))
        document: dict[str, Any] = json.loads(path.read_text("utf-8"))
        return document

    return read


@pytest.fixture(scope="session")
def selling() -> Callable[[list[dict[str, Any]]], AbstractContextManager[str]]:
    """Serves flow cases over HTTP on loopback; gives the origin."""
    flow_server = load("flow_server")

    @contextmanager
    def serve(cases: list[dict[str, Any]]) -> Iterator[str]:
        # Both sockets listen before the server runs, so that no client comes too early.
        with (
            socket.create_server(("127.0.0.1", 0)) as one,
            socket.create_server(("127.0.0.1", 0)) as other,
        ):
            app = flow_server.FlowServer(cases, f"http://127.0.0.1:{other.getsockname()[1]}")
            config = uvicorn.Config(app, lifespan="off", ws="none", log_level="warning")
            server = uvicorn.Server(config)
            thread = threading.Thread(target=server.run, kwargs={"sockets": [one, other]})
            thread.start()
            try:
                yield f"http://127.0.0.1:{one.getsockname()[1]}"
            finally:
                server.should_exit = True
                thread.join()

    return serve
