"""The service on a machine, installed by the lines of deploy/README.md as an operator would."""

import json
import re
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from deploy.machine import Machine
from deploy.readme import blocks
from jwt.algorithms import ECAlgorithm
from support.serving import PATH, USER_PATH

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
  -H 'Authorization: Bearer {jwt}' -H 'Content-Type: application/json' {more}
"""


class Installed:
    """The service, behind nginx and with PostgreSQL, and a partner's user who calls it.

    Args:
        machine: a fresh one.
    """

    def __init__(self, machine: Machine) -> None:
        self.machine = machine
        public = {**json.loads(ECAlgorithm.to_jwk(KEY.public_key())), "kid": "k1"}
        machine.run(f"cat > /etc/acme.jwks.json <<'END'\n{json.dumps({'keys': [public]})}\nEND")
        machine.run(CERTIFICATE)
        standin = self.access_key = ""
        for block in blocks("install"):
            lines = block.lines
            if "DATABASE_URL" in lines:
                standin = start_standin(machine)
            for text, here in OPERATORS.items():
                lines = lines.replace(text, here.format(standin=standin))
            result = machine.run(lines)
            block.check(result.stdout)
            if found := re.search("coord_ak_[A-Za-z0-9_-]+", result.stdout):
                self.access_key = found[0]

    def follow(self, mark: str) -> str:
        """Run the lines of the README with a mark; return what they print."""
        printed = []
        for block in blocks(mark):
            result = self.machine.run(block.lines)
            block.check(result.stdout)
            printed.append(result.stdout)
        assert printed, f"the README has no lines for {mark}"
        return "".join(printed)

    def save(self, subject: str) -> str:
        """Save a card for a user, by TLS; return the customer's id."""
        saved = self._call(subject, PATH, """-d '{"coord_targeted_token": "tok_visa"}'""")
        customer: str = saved["customer_id"]
        return customer

    def customer_of(self, subject: str) -> str:
        """Read a user; return the customer's id."""
        customer: str = self._call(subject, USER_PATH)["stripe_info"]["stripe_customer_id"]
        return customer

    def state(self, *names: str) -> str:
        """Return properties of the service, as systemd knows them."""
        words = " ".join(f"--property={name}" for name in names)
        return self.machine.run(f"systemctl show --value {words} coord-users.service").stdout

    def events(self) -> list[str]:
        """Return the names of the service's events."""
        log = "journalctl --unit=coord-users.service --output=cat"
        lines = self.machine.run(log).stdout.splitlines()
        return [json.loads(line)["event"] for line in lines if line.startswith("{")]

    def _call(self, subject: str, path: str, more: str = "") -> dict[str, Any]:
        now = int(time.time())
        claims = {
            "iss": "https://acme.example/",
            "aud": "https://api.coord.co",
            "sub": subject,
            "iat": now,
            "exp": now + 600,
        }
        user_jwt = jwt.encode(claims, KEY, "ES256", headers={"kid": "k1"})
        call = CALL.format(path=path, key=self.access_key, jwt=user_jwt, more=more)
        response = self.machine.run(call).stdout
        assert response.endswith("200"), response
        answer: dict[str, Any] = json.loads(response.removesuffix("200"))
        return answer


def start_standin(machine: Machine) -> str:
    """Start a sandbox beside the service; return the address of its stand-in for Stripe."""
    machine.run(
        "systemd-run --quiet --unit=sandbox --property=StandardOutput=file:/run/sandbox "
        "/opt/coord-users/bin/coord-users sandbox --port 9000"
    )
    printed = machine.run(
        "until grep -q '^  -d ' /run/sandbox; do systemctl is-active sandbox; sleep 0.2; done\n"
        "cat /run/sandbox"
    )
    (standin,) = re.findall(r"^Stand-in +(\S+)", printed.stdout, re.MULTILINE)
    return str(standin)
