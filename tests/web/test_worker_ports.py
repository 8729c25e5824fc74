"""Two services that are started at one port."""

from pathlib import Path

from support.server_process import ServerProcess, serving

from app.config import Settings


def test_port_that_is_taken(tmp_path: Path, settings: Settings) -> None:
    """Of two processes started at once, the second one reports that the port is taken."""
    with serving(settings, tmp_path / "log") as server:
        port = server.url.rpartition(":")[2]
        second = ServerProcess(settings, tmp_path / "second", "--port", port)
        assert second.process.wait(60) == 1
        assert "is taken" in (tmp_path / "second").read_text()
