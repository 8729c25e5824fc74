"""The lines of deploy/README.md, "Install", on a fresh Debian that systemd has booted."""

import json
import re
import time

import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from deploy.machine import Machine
from deploy.readme import blocks
from jwt.algorithms import ECAlgorithm
from support.serving import PATH

pytestmark = pytest.mark.deploy

KEY = generate_private_key(SECP256R1())
# What the text leaves to the operator, and what it is here: there is no Stripe and no partner.
KEYS_AT = "--jwks-url https://acme.example/.well-known/jwks.json"
OPERATORS = {
    "\nsk_live_...\n": "\nsk_test_sandbox\n",
    "DATABASE_URL=": "STRIPE_API_BASE={standin}\nDATABASE_URL=",
    KEYS_AT: "--jwks-file /etc/acme.jwks.json",
}
CERTIFICATE = """
install -d /etc/coord-users/tls
openssl req -quiet -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 1 \\
  -subj /CN=users.example.com -addext subjectAltName=DNS:users.example.com \\
  -keyout /etc/coord-users/tls/key.pem -out /etc/coord-users/tls/certificate.pem
"""
CALL = """
curl -sS --cacert /etc/coord-users/tls/certificate.pem --resolve users.example.com:443:127.0.0.1 \\
  -w '%{{http_code}}' 'https://users.example.com{path}?access_key={key}' \\
  -H 'Authorization: Bearer {jwt}' -H 'Content-Type: application/json' \\
  -d '{{"coord_targeted_token": "{token}"}}'
"""


def test_installed_by_the_text_alone_it_saves_a_card(debian_machine: Machine) -> None:
    machine = debian_machine
    public = {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "k1"}
    machine.run(f"cat > /etc/acme.jwks.json <<'END'\n{json.dumps({'keys': [public]})}\nEND")
    machine.run(CERTIFICATE)
    standin = access_key = ""
    tokens: list[str] = []
    for block in blocks("install"):
        lines = block.lines
        if "DATABASE_URL" in lines:
            standin, tokens = start_standin(machine)
        for text, here in OPERATORS.items():
            lines = lines.replace(text, here.format(standin=standin))
        result = machine.run(lines)
        block.check(result.stdout)
        if found := re.search("coord_ak_[A-Za-z0-9_-]+", result.stdout):
            access_key = found[0]
    now = int(time.time())
    claims = {
        "iss": "https://acme.example/",
        "aud": "https://api.coord.co",
        "sub": "user-1",
        "iat": now,
        "exp": now + 600,
    }
    user_jwt = jwt.encode(claims, KEY, "ES256", headers={"kid": "k1"})
    answer = machine.run(
        CALL.format(path=PATH, key=access_key, jwt=user_jwt, token=tokens[0])
    ).stdout
    assert answer.endswith("200"), answer
    assert json.loads(answer.removesuffix("200"))["customer_id"].startswith("cus_")
    for path in ("/metrics", "/healthz", "/readyz"):
        outside = f"curl -sSk -o /dev/null -w '%{{http_code}}' https://127.0.0.1{path}"
        assert machine.run(outside).stdout == "404", path


def start_standin(machine: Machine) -> tuple[str, list[str]]:
    """Start a sandbox beside the service, whose stand-in for Stripe the service then calls."""
    machine.run(
        "systemd-run --quiet --unit=sandbox --property=StandardOutput=file:/run/sandbox "
        "/opt/coord-users/bin/coord-users sandbox --port 9000"
    )
    printed = machine.run(
        "while ! grep -q '^  -d ' /run/sandbox; do sleep 0.2; done; cat /run/sandbox"
    )
    (standin,) = re.findall(r"^Stand-in +(\S+)", printed.stdout, re.MULTILINE)
    return standin, re.findall(r"^Fresh token +(\S+)", printed.stdout, re.MULTILINE)


LOG = "journalctl --unit=coord-users.service --output=cat --since=-5min"
HEALTHY = "curl -sS --max-time 60 -w ' %{http_code}' http://127.0.0.1:8080/healthz"


@pytest.fixture
def installed(debian_machine: Machine) -> Machine:
    """The machine once the test above has installed the service."""
    if "active" not in state(debian_machine, "ActiveState"):
        pytest.skip("the service was not installed: run the whole file")
    return debian_machine


def state(machine: Machine, *names: str) -> str:
    """Return properties of the service, as systemd knows them."""
    words = " ".join(f"--property={name}" for name in names)
    return machine.run(f"systemctl show --value {words} coord-users.service").stdout


def test_start_is_over_when_requests_are_taken(installed: Machine) -> None:
    """And the key is in a file that the service alone can read, not in its environment."""
    installed.run("systemctl restart coord-users.service")
    assert state(installed, "Type", "ActiveState", "SubState").split() == [
        *("notify", "active", "running"),
    ]
    *_, last = installed.run(LOG).stdout.strip().splitlines()
    assert json.loads(last)["event"] == "serving", last
    pid = state(installed, "MainPID").strip()
    environ = installed.run(f"tr '\\0' '\\n' < /proc/{pid}/environ").stdout
    assert "sk_" not in environ
    assert "STRIPE_SECRET_KEY_FILE=/run/credentials/coord-users.service/" in environ
    assert "Max open files            65536" in installed.run(f"cat /proc/{pid}/limits").stdout


def test_restart_refuses_no_caller(installed: Machine) -> None:
    calls = f"""
        for _ in $(seq 200); do {HEALTHY}; echo; done > /run/calls &
        for _ in 1 2; do systemctl restart coord-users.service; done
        wait $!
        sort /run/calls | uniq --count
    """
    assert installed.run(calls).stdout.split() == ["200", "alive", "200"]


def test_reload_keeps_the_process(installed: Machine) -> None:
    before = state(installed, "MainPID")
    installed.run("systemctl reload coord-users.service")
    installed.run(f"until {LOG} | tail -n 1 | grep -q '\"reloaded\"'; do sleep 0.1; done")
    assert state(installed, "MainPID") == before
    assert installed.run(HEALTHY).stdout.endswith(" 200")


def test_request_starts_the_service(installed: Machine) -> None:
    """It ends well within its time when it is told to, and its socket goes on listening."""
    installed.run("systemctl stop coord-users.service")
    assert state(installed, "Result", "ExecMainStatus").split() == ["success", "0"]
    assert installed.run(HEALTHY).stdout.endswith(" 200")
    assert state(installed, "ActiveState") == "active\n"


def test_stopped_socket_stops_the_service(installed: Machine) -> None:
    """Which then stays stopped; its start opens the socket again."""
    installed.run("systemctl stop coord-users.socket")
    assert state(installed, "ActiveState") == "inactive\n"
    assert installed.run(HEALTHY, check=False).returncode == 7  # curl: refused
    installed.run("systemctl start coord-users.service")
    assert installed.run(HEALTHY).stdout.endswith(" 200")


def test_database_that_is_away_for_long(installed: Machine) -> None:
    """The service is started again and again, and needs no operator once the database is back."""
    failures = "systemctl show --value --property=NRestarts coord-users.service"
    installed.run(f"""
        systemctl stop postgresql@*.service
        systemctl restart --no-block coord-users.service
        until (( $({failures}) > 6 )); do sleep 0.2; done
        systemctl start postgresql.service
        {HEALTHY}
    """)
    assert state(installed, "ActiveState") == "active\n"


def test_unit_is_valid_and_hardened(debian_machine: Machine) -> None:
    """`systemd-analyze verify` exits with 0 though it complains, so its stderr is judged."""
    service = "/etc/systemd/system/coord-users.service"
    verified = debian_machine.run(f"systemd-analyze verify {service} {service[:-8]}.socket")
    assert verified.stderr == ""
    debian_machine.run(f"systemd-analyze security --offline=true --threshold=15 {service}")
