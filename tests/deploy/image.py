"""The image: built by buildah from deploy/Dockerfile, run by bubblewrap. No daemon, no registry."""

import contextlib
import json
import subprocess
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from support.needs import need

from deploy import debian

# The stand-in for the base image is a Debian of the same suite, with its own Python.
BASE = f"docker.io/library/python:{debian.PYTHON}-slim-{debian.SUITE}"
PACKAGES = ("python3", "python3-venv", "ca-certificates")
COMPOSE = "docker-compose"


@dataclass(frozen=True)
class Image:
    """A built image.

    Attributes:
        root: its root file system.
        config: what it says about how to run it, as Docker stores it.
        compose: the program of Docker Compose.
    """

    root: Path
    config: dict[str, Any]
    compose: Path

    def command(
        self,
        *words: str,
        entrypoint: tuple[str, ...] | None = None,
        environ: Mapping[str, str] | None = None,
        mounts: Mapping[Path, str] | None = None,
        tmp: bool = False,
        network: bool = True,
    ) -> list[str]:
        """Return the command line that runs the image: its user, environment and entry point.

        The root file system is read-only, there is no capability, no HOME, and nothing of this
        machine but its network.

        Args:
            words: what follows the entry point; otherwise the image's own.
            entrypoint: another one.
            environ: further variables.
            mounts: files of this machine, read-only, by their path in the container.
            tmp: whether there is a writable /tmp.
            network: whether this machine's; otherwise there is but a loopback of its own.
        """
        uid, gid = self.config["User"].split(":")
        variables = dict(pair.split("=", 1) for pair in self.config["Env"]) | dict(environ or {})
        return [
            need("bwrap", "apt-get install bubblewrap"),
            # As under Docker, the command is the first process: it has no default for SIGTERM.
            *("--unshare-pid", "--as-pid-1", "--unshare-ipc", "--unshare-uts", "--die-with-parent"),
            *(() if network else ("--unshare-net",)),
            *("--ro-bind", str(self.root), "/", "--proc", "/proc", "--dev", "/dev"),
            *(("--perms", "1777", "--tmpfs", "/tmp") if tmp else ()),
            *("--tmpfs", "/run"),
            *(word for file, path in (mounts or {}).items() for word in _bind(file, path)),
            *("--remount-ro", "/run", "--chdir", self.config["WorkingDir"] or "/", "--clearenv"),
            *(word for name, value in variables.items() for word in ("--setenv", name, value)),
            *("/usr/bin/setpriv", f"--reuid={uid}", f"--regid={gid}", "--clear-groups"),
            *("--bounding-set=-all", "--inh-caps=-all", "--no-new-privs", "--"),
            *(self.config["Entrypoint"] if entrypoint is None else entrypoint),
            *(words or (() if entrypoint else self.config["Cmd"])),
        ]

    def first_process(self, bwrap: int) -> int:
        """Return the id on this machine of the command that a bwrap started.

        Args:
            bwrap: its process id.
        """
        (child,) = Path(f"/proc/{bwrap}/task/{bwrap}/children").read_text().split()
        return int(child)

    def run(self, *words: str, **options: Any) -> "subprocess.CompletedProcess[str]":
        """Run the image to its end."""
        return subprocess.run(
            self.command(*words, **options), capture_output=True, text=True, timeout=120
        )


def _bind(file: Path, path: str) -> tuple[str, ...]:
    return ("--ro-bind", str(file), path)


@contextlib.contextmanager
def build(cached: Path, wheels: Path, folder: Path) -> Iterator[Image]:
    """Build the image, and remove it at the end.

    Args:
        cached: keeps the base for the next run.
        wheels: what pip finds in the place of an index.
        folder: for the images.
    """
    program = need("buildah", "apt-get install buildah")

    def buildah(*words: str) -> str:
        store = ("--root", str(folder / "store"), "--runroot", str(folder / "run"))
        return debian.run(program, "--storage-driver", "overlay", *store, *words).strip()

    base = debian.make_once(cached / "base", _make_base)
    try:
        scratch = buildah("from", "scratch")
        debian.run("cp", "--archive", f"{base}/root/.", buildah("mount", scratch))
        buildah("commit", "--quiet", scratch, BASE)
        buildah(
            "bud",
            *("--isolation", "chroot", "--pull-never", "--format", "docker", "--layers=false"),
            *("--volume", f"{wheels}:/wheels:ro"),
            *("--volume", f"{wheels}/pip.conf:/etc/pip.conf:ro"),
            *("--file", str(debian.ROOT / "deploy/Dockerfile"), "--tag", "coord-users"),
            str(debian.ROOT),
        )
        description = json.loads(buildah("inspect", "--type", "image", "coord-users"))
        container = buildah("from", "--pull-never", "coord-users")
        root = Path(buildah("mount", container))
        yield Image(root, description["Docker"]["config"], base / COMPOSE)
    finally:
        buildah("umount", "--all")
        buildah("rm", "--all")


def _make_base(target: Path) -> None:
    """Install the stand-in for the base image, and take Docker Compose from the same Debian."""
    target.mkdir()
    debian.make_root(
        target / "root",
        PACKAGES,
        f"--customize-hook=chroot $1 sh -c 'cd /tmp && apt-get download {COMPOSE}'",
        f"--customize-hook=dpkg-deb --extract $1/tmp/{COMPOSE}_*.deb {target}/package",
        f"--customize-hook=rm $1/tmp/{COMPOSE}_*.deb",
    )
    (compose,) = (target / "package").rglob(f"cli-plugins/{COMPOSE}")
    compose.rename(target / COMPOSE)
