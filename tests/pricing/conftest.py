"""What tests of prices share."""

from pathlib import Path

import pytest


@pytest.fixture
def files(tmp_path: Path) -> Path:
    for name in ("free.txt", "paid.txt", "public/a.txt", "dear/a.txt", "cheap/a.txt"):
        file = tmp_path / name
        file.parent.mkdir(exist_ok=True)
        file.write_text(name)
    (tmp_path / "public/index.html").write_text("index")
    return tmp_path
