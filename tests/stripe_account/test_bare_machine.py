"""Calls to Stripe need nothing of the machine but its network."""

import subprocess
import sys
from pathlib import Path

from support.certificates import Authority
from support.needs import need
from support.raw_server import Server
from support.scripted_stripe import Said, ScriptedStripe

SCRIPT = Path(__file__).parent / "bare_machine.py"
CUSTOMER = {"id": "cus_1", "object": "customer", "created": 0, "livemode": False, "metadata": {}}


def test_no_home_no_writable_folder_no_certificates(tmp_path: Path) -> None:
    """As in a container with a read-only root and a user that the image does not know.

    The SDK's telemetry would write into HOME. Certifi's certificates are trusted, and no others.
    """
    bwrap = need("bwrap", "apt-get install bubblewrap")
    stripe = ScriptedStripe()
    stripe.says = Said(200, CUSTOMER)
    untrusted = Server(lambda sock: None, Authority(tmp_path).server("127.0.0.1"))
    ended = subprocess.run(
        [
            *(bwrap, "--unshare-user", "--uid", "12345", "--gid", "12345", "--clearenv"),
            *("--ro-bind", "/", "/", "--tmpfs", "/etc/ssl", "--remount-ro", "/etc/ssl"),
            *("--proc", "/proc", "--dev", "/dev", "--remount-ro", "/dev"),
            *(sys.executable, "-B", str(SCRIPT), stripe.url, f"https://127.0.0.1:{untrusted.port}"),
        ],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    stripe.close()
    untrusted.stop()
    assert ended.stderr == ""
    customer, reason = ended.stdout.splitlines()
    assert customer == "cus_1"
    assert "unable to get local issuer certificate" in reason
