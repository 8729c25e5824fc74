"""The image runs as deploy/Dockerfile promises, and Docker Compose itself reads compose.yaml."""

import json
import os
import shlex
import signal
import subprocess
from pathlib import Path
from typing import Any

import pytest
from deploy.image import Image
from support.needs import need
from support.sandbox_process import Printed

from deploy import debian

pytestmark = pytest.mark.deploy

FILE = debian.ROOT / "deploy/compose.yaml"
OURS = {"api", "migrate", "sandbox"}

# What only a build needs, or an intruder.
TOOLS = ("cc", "gcc", "g++", "ld", "make", "git", "curl", "wget", "pip", "pip3", "easy_install")


def test_sandbox_answers_the_printed_line(image: Image) -> None:
    """As an unknown user without HOME, on a root file system that is read-only."""
    process = subprocess.Popen(
        image.command("sandbox", "--port", "0", tmp=True),
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        printed = Printed(process)
        first = Path(f"/proc/{image.first_process(process.pid)}")
        status = dict(line.split(":\t", 1) for line in (first / "status").read_text().splitlines())
        assert status["Uid"].split() == ["10001"] * 4
        assert int(status["CapEff"], 16) == int(status["CapBnd"], 16) == 0
        assert status["NoNewPrivs"] == "1"
        assert b"HOME=" not in (first / "environ").read_bytes()
        need("curl", "apt-get install curl")
        line = printed.text[printed.text.index("curl ") :].split("\n\n")[0]
        answer = subprocess.run(
            ["bash", "-c", f"{line} -w '%{{http_code}}'"],
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert answer.stdout.endswith("200"), answer
    finally:
        os.kill(image.first_process(process.pid), signal.SIGTERM)
        process.communicate(timeout=60)
    assert process.returncode == 0


def test_root_file_system_is_read_only(image: Image) -> None:
    for folder in ("/", "/opt/coord-users", "/tmp", "/run", "/var/tmp"):
        result = image.run("-c", f"touch {folder}/x", entrypoint=("sh",))
        assert result.returncode != 0, folder


def test_holds_no_build_tools(image: Image) -> None:
    """Nor pip, the base's own included; and only root could change the program."""
    script = "; ".join(f"command -v {tool}" for tool in TOOLS)
    assert image.run("-c", f"{script}; true", entrypoint=("sh",)).stdout == ""
    found = image.run("-c", "import pip", entrypoint=("python3",))
    assert "No module named 'pip'" in found.stderr
    program = image.root / "opt/coord-users"
    assert all(
        path.lstat().st_uid == 0 and (path.is_symlink() or not path.stat().st_mode & 0o022)
        for path in program.rglob("*")
    )


def test_health_check_follows_the_service(image: Image) -> None:
    """It fails before the service listens and after it ended, and succeeds in between."""
    kind, *check = image.config["Healthcheck"]["Test"]
    assert kind == "CMD"
    script = f"""
        healthy() {{ {shlex.join(check)} 2>/dev/null; }}
        healthy && exit 1
        coord-users sandbox >/dev/null 2>&1 &
        until healthy; do kill -0 $! || exit 2; sleep 0.2; done
        kill $! && wait $!
        healthy && exit 3
        exit 0
    """
    # The check names the port, which another program of this machine may have.
    result = image.run("-c", script, entrypoint=("sh",), tmp=True, network=False)
    assert result.returncode == 0, result


def test_serves_by_default(image: Image) -> None:
    """And says in one line what is missing."""
    result = image.run()
    assert image.config["Cmd"][0] == "serve"
    assert (result.returncode, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: STRIPE_SECRET_KEY is not set")
    assert result.stderr.count("\n") == 1


@pytest.fixture
def composed(image: Image) -> dict[str, Any]:
    """The file as Compose resolves it."""
    secrets = ("env", "DATABASE_PASSWORD=pass", "STRIPE_SECRET_KEY=sk_test_x")
    words = ("--file", str(FILE), "--profile", "sandbox", "config", "--format", "json")
    result: dict[str, Any] = json.loads(debian.run(*secrets, str(image.compose), *words))
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


def test_says_which_secret_is_missing(image: Image) -> None:
    result = subprocess.run(
        ["env", "-i", image.compose, "--file", FILE, "config"],
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert result.returncode != 0
    assert "DATABASE_PASSWORD" in result.stderr
