"""A machine of an operator: a Debian that systemd has booted in namespaces of its own.

It has no network but its loopback, so its ports are its own; and what happens in it stays in an
overlay over a root file system that is used again.
"""

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from support.needs import need

from deploy import debian

PACKAGES = (
    *("systemd", "systemd-sysv", "dbus", "iproute2", "procps"),
    *("python3", "python3-venv", "ca-certificates", "curl", "nginx-light", "postgresql"),
)
# Debian's, for root.
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
# Where the machine has the repository.
CHECKOUT = "/srv/coord-users"
SHIPPED = ("LICENSE", "README.md", "pyproject.toml", "setup.cfg", "app", "openapi", "deploy")
# A boot takes 8 s on a quiet machine.
DEADLINE = 120.0

BOOT = """
set -e
mount --make-rprivate /
mount -t overlay overlay -o lowerdir=$LOWER,upperdir=$WORK/upper,workdir=$WORK/work $WORK/root
cd $WORK/root
mount -t proc proc proc
mount -t sysfs -o ro sysfs sys
mount -t cgroup2 cgroup2 sys/fs/cgroup
mount --bind proc/sys proc/sys
mount -o remount,bind,ro proc/sys
mount -t tmpfs -o mode=755 tmpfs dev
for device in null zero full random urandom tty; do
    touch dev/$device
    mount --bind /dev/$device dev/$device
done
mkdir dev/pts dev/shm
mount -t tmpfs tmpfs dev/shm
mount -t devpts -o newinstance,ptmxmode=0666,mode=620 devpts dev/pts
ln -s pts/ptmx dev/ptmx
ln -s /proc/self/fd dev/fd
mount -t tmpfs -o mode=755 tmpfs run
mkdir -p wheels
mount --bind $WHEELS wheels
ip link set lo up
hostname machine
pivot_root . mnt
umount -l /mnt
# As a container's manager does for systemd: it mounts credentials where their services see them.
mount --make-rshared /
exec env -i container=other PATH=/usr/sbin:/usr/bin:/sbin:/bin /usr/lib/systemd/systemd
"""


class Machine:
    """A context manager: booted at its start, gone at its end.

    Args:
        root: a root file system with `PACKAGES`; it is only read.
        wheels: what pip finds in the place of an index.
        work: takes what is written in the machine.
    """

    def __init__(self, root: Path, wheels: Path, work: Path) -> None:
        for name in ("upper", "work", "root"):
            (work / name).mkdir()
        copy = work / "upper" / CHECKOUT.lstrip("/")
        copy.mkdir(parents=True)
        for name in SHIPPED:
            source = debian.ROOT / name
            if source.is_dir():
                ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
                shutil.copytree(source, copy / name, ignore=ignored)
            else:
                shutil.copy(source, copy)
        (work / "upper/etc").mkdir(exist_ok=True)
        shutil.copy(wheels / "pip.conf", work / "upper/etc")
        # A cgroup of its own: systemd would otherwise sort the processes of this machine.
        hierarchy = next(
            line.split()[1]
            for line in Path("/proc/mounts").read_text().splitlines()
            if " cgroup2 " in line
        )
        self._cgroup = Path(tempfile.mkdtemp(prefix="coord-users-", dir=hierarchy))
        shell = need("unshare", "apt-get install util-linux")
        self._log = (work / "boot.log").open("wb")
        enter = f"echo $$ > {self._cgroup}/cgroup.procs && exec"
        unshare = f"{shell} --pid --mount --ipc --uts --net --cgroup --fork --kill-child bash -c"
        self._process = subprocess.Popen(
            ["bash", "-c", f'{enter} {unshare} "$BOOT"'],
            env={
                **os.environ,
                "BOOT": BOOT,
                "LOWER": str(root),
                "WORK": str(work),
                "WHEELS": str(wheels),
            },
            stdout=self._log,
            stderr=self._log,
            stdin=subprocess.DEVNULL,
        )

    def __enter__(self) -> "Machine":
        until = time.monotonic() + DEADLINE
        while self.run("systemctl is-active multi-user.target", check=False).stdout != "active\n":
            assert time.monotonic() < until, Path(self._log.name).read_text()
            assert self._process.poll() is None, Path(self._log.name).read_text()
            time.sleep(0.2)
        return self

    def __exit__(
        self,
        _type: type[BaseException] | None,
        _error: BaseException | None,
        _trace: TracebackType | None,
    ) -> None:
        # Its first process cannot be told by a signal that it handles; and nothing is to be saved.
        self._process.send_signal(signal.SIGKILL)
        self._process.wait(DEADLINE)
        self._log.close()
        until = time.monotonic() + DEADLINE
        for folder in [*sorted(self._cgroup.rglob("*/"), reverse=True), self._cgroup]:
            while folder.exists() and time.monotonic() < until:
                with contextlib.suppress(OSError):
                    folder.rmdir()

    def run(self, script: str, *, check: bool = True) -> "subprocess.CompletedProcess[str]":
        """Run lines of bash as the machine's root, in the checkout.

        Args:
            script: ends at the first line that fails.
            check: whether that is a failure of the test.
        """
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children").read_text()
        first = children.split()[0] if children else str(self._process.pid)
        result = subprocess.run(
            [
                *(need("nsenter", "apt-get install util-linux"), "--target", first, "--all"),
                *("env", "-i", "HOME=/root", f"PATH={PATH}"),
                *("bash", "-euo", "pipefail", "-c", f"cd {CHECKOUT}\n{script}"),
            ],
            capture_output=True,
            text=True,
            timeout=300,
            stdin=subprocess.DEVNULL,
        )
        if check:
            assert result.returncode == 0, f"{script}\n{result.stdout}{result.stderr}"
        return result
