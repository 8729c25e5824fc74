"""The wheel, installed into an empty environment away from the checkout, serves the API."""

import json
import subprocess
import sys
import venv
from pathlib import Path

from support.sandboxed import Printed


def test_wheel_serves_from_an_empty_environment(tmp_path: Path) -> None:
    """It carries both contracts, the migrations, and all that the pages need."""
    checkout = Path(__file__).parents[1]
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps"]
    subprocess.run([*build, "--wheel-dir", tmp_path, checkout], check=True, timeout=300)
    [wheel] = tmp_path.glob("*.whl")
    venv.create(tmp_path / "empty", with_pip=True)
    bin_folder = tmp_path / "empty" / "bin"
    install = [bin_folder / "python", "-m", "pip", "install", "--quiet", wheel]
    subprocess.run(install, check=True, timeout=600, cwd=tmp_path)
    process = subprocess.Popen(
        [bin_folder / "coord-users", "sandbox", "--port", "0"],
        stdout=subprocess.PIPE,
        text=True,
        cwd=tmp_path,
    )
    try:
        answer = json.loads(Printed(process).curl().stdout)
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert answer["customer_id"].startswith("cus_")
