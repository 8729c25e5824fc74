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
    "STRIPE_SECRET_KEY=sk_live_...": "STRIPE_SECRET_KEY=sk_test_sandbox\nSTRIPE_API_BASE={standin}",
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
        if "STRIPE_SECRET_KEY" in lines:
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


def test_unit_is_valid_and_hardened(debian_machine: Machine) -> None:
    """`systemd-analyze verify` exits with 0 though it complains, so its stderr is judged."""
    units = "/etc/systemd/system/coord-users.service"
    verified = debian_machine.run(f"systemd-analyze verify {units}")
    assert verified.stderr == ""
    debian_machine.run(f"systemd-analyze security --offline=true --threshold=30 {units}")
