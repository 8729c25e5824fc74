"""deploy/compose.yaml: read by Docker Compose itself, and its commands run in the image."""

import json
from pathlib import Path
from typing import Any

import pytest
from deploy.image import Image

from deploy import debian

# One worker builds the image, once.
pytestmark = [pytest.mark.deploy, pytest.mark.xdist_group("image")]

FILE = debian.ROOT / "deploy/compose.yaml"
OURS = {"api", "migrate", "sandbox"}


@pytest.fixture
def composed(image: Image) -> dict[str, Any]:
    """The file as Compose resolves it."""
    words = ("--file", str(FILE), "--profile", "sandbox", "config", "--format", "json")
    result: dict[str, Any] = json.loads(debian.run(str(image.compose), *words))
    return result


def test_is_valid_and_runs_ours_with_no_privilege(composed: dict[str, Any]) -> None:
    services = composed["services"]
    assert set(services) == {*OURS, "database"}
    for name in OURS:
        service = services[name]
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert service["security_opt"] == ["no-new-privileges:true"], name
        assert service["build"]["dockerfile"] == "deploy/Dockerfile"
        assert Path(service["build"]["context"]) == debian.ROOT
    assert [name for name in services if services[name].get("profiles")] == ["sandbox"]


def test_starts_one_after_the_other(composed: dict[str, Any]) -> None:
    """The service once the schema is up to date, and that once the database answers."""
    services = composed["services"]
    conditions = {
        name: {other: how["condition"] for other, how in service.get("depends_on", {}).items()}
        for name, service in services.items()
    }
    assert conditions["api"] == {"migrate": "service_completed_successfully"}
    assert conditions["migrate"] == {"database": "service_healthy"}
    assert services["database"]["healthcheck"]["test"][:2] == ["CMD", "pg_isready"]


def test_waits_for_requests_in_flight(composed: dict[str, Any]) -> None:
    """REQUEST_TIMEOUT and 5 s at the least, before Docker kills."""
    assert composed["services"]["api"]["stop_grace_period"] == "45s"
