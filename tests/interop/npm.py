"""Packages from npm, installed once, outside the repository."""

import os
import shutil
import subprocess
import tempfile
from pathlib import Path

import pytest

INSTALL_SECONDS = 120


def installed(package: str, version: str, *options: str) -> Path:
    """The directory that holds its ``node_modules``; installs it unless an earlier run did.

    Skips the test where that cannot be done, and says why.
    """
    for program in ("node", "npm"):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed, so {package} cannot run")
    home = Path(tempfile.gettempdir()) / f"mpp-asgi-tests-{os.getuid()}"
    home.mkdir(mode=0o700, exist_ok=True)
    if home.stat().st_uid != os.getuid():
        pytest.skip(f"{home} belongs to somebody else, so {package} cannot be installed there")
    place = home / f"{package.rpartition('/')[2]}-{version}"
    if not place.exists():
        _install(place, package, version, options)
    return place


def _install(place: Path, package: str, version: str, options: tuple[str, ...]) -> None:
    with tempfile.TemporaryDirectory(dir=place.parent) as unfinished:
        command = ["npm", "install", "--ignore-scripts", "--no-save", *options]
        command += ["--no-audit", "--no-fund", "--loglevel=error", f"{package}@{version}"]
        try:
            subprocess.run(
                command,
                cwd=unfinished,
                check=True,
                capture_output=True,
                text=True,
                timeout=INSTALL_SECONDS,
            )
        except subprocess.TimeoutExpired:
            pytest.skip(f"the npm registry does not answer, so {package} cannot be installed")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"npm cannot install {package}: {error.stderr.strip().splitlines()[0]}")
        whole = Path(unfinished) / "whole"
        whole.mkdir()
        (Path(unfinished) / "node_modules").rename(whole / "node_modules")
        try:
            whole.rename(place)
        except OSError:  # another test process was quicker
            assert place.exists()
