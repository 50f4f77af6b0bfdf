"""What the documents say of nginx is one thing."""

from __future__ import annotations

import re
from pathlib import Path

from tests.fronts.nginx import documented

README = Path(__file__).parents[2] / "README.md"


def directives(block: str) -> set[str]:
    return {line.partition("#")[0].strip() for line in block.splitlines()} - {""}


def test_the_readme_says_what_the_deployment_does() -> None:
    text = README.read_text(encoding="utf-8")
    (short,) = re.findall(r"```nginx\n(.*?)```", text, re.DOTALL)
    whole = directives(documented("listen 443 ssl;"))
    left_out = whole - directives(short)
    assert directives(short) <= whole
    assert {line.split()[0] for line in left_out} == {
        *("server", "listen", "server_name", "ssl_certificate", "ssl_certificate_key"),
    }
