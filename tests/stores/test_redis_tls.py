"""A Redis store over TLS."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from typing import TYPE_CHECKING

import pytest

from mpp_asgi.stores.contract import StoreUnavailableError
from tests.redis_server import DURABLE, redis_process
from tests.stores.backends import patient_store

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

# Of localhost, signed by itself, good until 2126; whoever has it has nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBlTCCATugAwIBAgIUT5QWc9oJQa90el6cNUkSYNGc2CkwCgYIKoZIzj0EAwIw
FDESMBAGA1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMjE0NTUzM1oYDzIxMjYxMDI5
MTQ1NTMzWjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjO
PQMBBwNCAATW4ujXrveacLLuu0FzgiESyA4VuC75Vs/KG1sxi0nr1uoWaouFnTvx
BSRfGdKRTGdRgwexFFJn6Bnf6VWcHVUuo2kwZzAdBgNVHQ4EFgQUKXvL8OS/gB1J
bAQtqTD8FUydgbMwHwYDVR0jBBgwFoAUKXvL8OS/gB1JbAQtqTD8FUydgbMwDwYD
VR0TAQH/BAUwAwEB/zAUBgNVHREEDTALgglsb2NhbGhvc3QwCgYIKoZIzj0EAwID
SAAwRQIgJz7zF5NGMOmuuA4jVE6OzlPpyXjfFiS4sVlQMWfafzgCIQD5Aom2aQ1e
EaMq32lr0FVMEwjNd2AJ9gjN19RNNjdvoA==
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgQ8NjBmsT1coa2Fbo
V2y1GZ9RFZ8jKCNciU+/rp6hBKWhRANCAATW4ujXrveacLLuu0FzgiESyA4VuC75
Vs/KG1sxi0nr1uoWaouFnTvxBSRfGdKRTGdRgwexFFJn6Bnf6VWcHVUu
-----END PRIVATE KEY-----
"""


@pytest.fixture
def certificate(tmp_path: Path) -> Path:
    path = tmp_path / "certificate.pem"
    path.write_text(CERTIFICATE)
    return path


@pytest.fixture
async def port(certificate: Path) -> AsyncIterator[int]:
    """Of a server that speaks TLS, and has a real one behind it."""
    with redis_process(*DURABLE) as process:

        async def copy(source: asyncio.StreamReader, target: asyncio.StreamWriter) -> None:
            with contextlib.suppress(OSError):
                while data := await source.read(1 << 16):
                    target.write(data)
            target.close()

        async def serve(inward: asyncio.StreamReader, outward: asyncio.StreamWriter) -> None:
            reader, writer = await asyncio.open_unix_connection(str(process.socket))
            await asyncio.gather(copy(inward, writer), copy(reader, outward))

        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(certificate)
        async with await asyncio.start_server(serve, "127.0.0.1", 0, ssl=context) as server:
            yield server.sockets[0].getsockname()[1]
            server.close()


async def test_a_trusted_server_is_used(port, certificate, new_charge):
    store = patient_store(f"rediss://localhost:{port}?ca={certificate}")
    await store.open()
    await store.claim(new_charge(), ["tx:1"], now=0)
    assert await store.get("challenge") == new_charge()
    await store.close()


@pytest.mark.parametrize("url", ["rediss://localhost:{port}", "rediss://127.0.0.1:{port}?ca={ca}"])
async def test_one_that_is_not_trusted_or_is_another_host_is_refused(port, certificate, url):
    store = patient_store(url.format(port=port, ca=certificate))
    with pytest.raises(StoreUnavailableError, match="certificate is not trusted"):
        await store.open()


async def test_one_that_speaks_no_tls_is_refused(certificate):
    async def serve(inward: asyncio.StreamReader, outward: asyncio.StreamWriter) -> None:
        outward.write(b"-ERR what is this?\r\n")
        await inward.read(1 << 16)
        outward.close()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        store = patient_store(f"rediss://localhost:{port}?ca={certificate}")
        with pytest.raises(StoreUnavailableError, match="or it speaks no TLS"):
            await store.open()
