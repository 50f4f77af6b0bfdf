"""nginx as `docs/deployment.md` says it, in front of a shop.

The blocks are taken out of the document as they stand; what has to be another on this machine
(addresses, files) is changed, and if it is not there any more the test says so.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

NGINX = os.environ.get("TEST_NGINX") or shutil.which("nginx") or ""
OLDEST = (1, 22)


def missing() -> str | None:
    """Why no front can be run here."""
    if sys.platform != "linux":
        return "the shop under attack runs on Linux"
    if not NGINX:
        return "there is no nginx here: put it on PATH, or name it in TEST_NGINX"
    told = subprocess.run([NGINX, "-V"], capture_output=True, text=True, check=False).stderr
    version = re.search(r"nginx/(\d+)\.(\d+)", told)
    if version is None or (int(version[1]), int(version[2])) < OLDEST:
        return f"{NGINX} is older than 1.22"
    return None if "--with-http_ssl_module" in told else f"{NGINX} speaks no TLS"


MISSING = missing()
needs_nginx = pytest.mark.skipif(MISSING is not None, reason=MISSING or "")
DOCUMENT = Path(__file__).parents[2] / "docs" / "deployment.md"
NAME = "api.example.com"
START_SECONDS = 60.0
SHOP_ADDRESS = "127.0.0.1:8000"

Change = tuple[str, str]
"""What stands in the configuration, and what shall stand there instead."""

# Of api.example.com, signed by itself, good until 2126; whoever has it has nothing.
CERTIFICATE = """\
-----BEGIN CERTIFICATE-----
MIIBqDCCAU2gAwIBAgIUILai3y9b4ih2/uBfMJDE4l8tzQAwCgYIKoZIzj0EAwIw
GjEYMBYGA1UEAwwPYXBpLmV4YW1wbGUuY29tMCAXDTI2MTEyMjE3MzI1MloYDzIx
MjYxMDI5MTczMjUyWjAaMRgwFgYDVQQDDA9hcGkuZXhhbXBsZS5jb20wWTATBgcq
hkjOPQIBBggqhkjOPQMBBwNCAAQZafiTwfE8N6ST45STuWLTYPZaJcD7qKwOlMMD
0znAnoy6pkeX/e5DS84SxtxXWPByYvWGXfj49LjqGwxLIfWxo28wbTAdBgNVHQ4E
FgQUGyY1YcMOPQfp3yXbgVcXpQsFJOgwHwYDVR0jBBgwFoAUGyY1YcMOPQfp3yXb
gVcXpQsFJOgwDwYDVR0TAQH/BAUwAwEB/zAaBgNVHREEEzARgg9hcGkuZXhhbXBs
ZS5jb20wCgYIKoZIzj0EAwIDSQAwRgIhAO6XDYJjB1HS5vCBE8jDcB8BY10n1CW7
8WYQlQP9f3kdAiEAmXIV4aeeV85e9m7PwQqtZGkFIsMc4s9Ckp6fJiV0T3k=
-----END CERTIFICATE-----
-----BEGIN PRIVATE KEY-----
MIGHAgEAMBMGByqGSM49AgEGCCqGSM49AwEHBG0wawIBAQQgikZe1vUCUIUXzzex
h5MWJp7ostG8ESpn/EUnHZ/tfP+hRANCAAQZafiTwfE8N6ST45STuWLTYPZaJcD7
qKwOlMMD0znAnoy6pkeX/e5DS84SxtxXWPByYvWGXfj49LjqGwxLIfWx
-----END PRIVATE KEY-----
"""


def documented(word: str) -> str:
    """The one nginx block of the document that has this word in it."""
    blocks = re.findall(r"```nginx\n(.*?)```", DOCUMENT.read_text(encoding="utf-8"), re.DOTALL)
    (found,) = (block for block in blocks if word in block)
    return str(found)


def changed(text: str, changes: Sequence[Change]) -> str:
    """With each change made, wherever it applies."""
    for old, new in changes:
        if old not in text:
            raise ValueError(f"the document does not say {old!r} any more")
        text = text.replace(old, new)
    return text


class Front:
    """A running nginx."""

    def __init__(self, process: subprocess.Popen[bytes], port: int, log: Path) -> None:
        self.process = process
        self.port = port
        self._log = log

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    def tls(self) -> ssl.SSLContext:
        """Trusts this one, whatever it is called."""
        context = ssl.create_default_context(cadata=CERTIFICATE)
        context.check_hostname = False
        return context


@contextmanager
def running_front(configuration: str, folder: Path) -> Iterator[Front]:
    """nginx with what the document says, on a port of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    certificate, log = folder / "certificate.pem", folder / "error.log"
    certificate.write_text(CERTIFICATE)
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        server = changed(
            configuration,
            [
                ("listen 443 ssl;", f"listen 127.0.0.1:{port} ssl;"),
                (f"/etc/letsencrypt/live/{NAME}/fullchain.pem", str(certificate)),
                (f"/etc/letsencrypt/live/{NAME}/privkey.pem", str(certificate)),
            ],
        )
        kinds = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        lines = [
            *(f"error_log {log} info;", f"pid {folder}/pid;", "worker_processes 1;"),
            *(["user root;"] if os.geteuid() == 0 else []),
            *("daemon off;", "events {}", "http {", "access_log off;"),
            *(f"{kind}_temp_path {folder}/{kind};" for kind in kinds),
            *(server, "}"),
        ]
        file = folder / "nginx.conf"
        file.write_text("\n".join(lines))
        # nginx takes over a socket that it finds under an address that it shall listen at.
        process = subprocess.Popen(
            [NGINX, "-p", str(folder), "-e", str(log), "-c", str(file)],
            env={"NGINX": f"{listener.fileno()};", "PATH": os.environ.get("PATH", "")},
            pass_fds=[listener.fileno()],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
        )
    front = Front(process, port, log)
    try:
        _wait_for(front)
        yield front
    finally:
        process.terminate()
        process.communicate(timeout=START_SECONDS)


def _wait_for(front: Front) -> None:
    """Until it speaks TLS."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and front.process.poll() is None:
        try:
            with (
                socket.create_connection(("127.0.0.1", front.port), timeout=5) as raw,
                front.tls().wrap_socket(raw),
            ):
                return
        except OSError:
            time.sleep(0.05)
    front.process.kill()
    _, said = front.process.communicate()
    raise RuntimeError(f"nginx did not start:\n{said.decode()}\n{front.log}")
