"""What the tests of deploy/ share: wheels, an image, a machine. Made once and kept in the cache."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from deploy.image import Image, build
from deploy.machine import PACKAGES, Machine

from deploy import debian


@pytest.fixture(scope="session")
def cached(pytestconfig: pytest.Config) -> Path:
    """Return the directory whose content survives this run; `pytest --cache-clear` empties it."""
    return pytestconfig.cache.mkdir("deploy")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a directory with all wheels that are installed; not cached, as the pins change."""
    debian.need_root()
    shared = tmp_path_factory.getbasetemp()
    shared = shared.parent if shared.name.startswith("popen-") else shared
    return debian.make_once(shared / "wheels", debian.make_wheels)


@pytest.fixture(scope="session")
def image(cached: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Image]:
    """The image, built from deploy/Dockerfile."""
    with build(cached, wheels, tmp_path_factory.mktemp("image")) as built:
        yield built


@pytest.fixture(scope="session")
def debian_machine(
    cached: Path, wheels: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Machine]:
    """A Debian that systemd has booted, with nginx and PostgreSQL, and this repository."""
    root = debian.make_once(cached / "machine", lambda target: debian.make_root(target, PACKAGES))
    with Machine(root, wheels, tmp_path_factory.mktemp("machine")) as booted:
        yield booted
