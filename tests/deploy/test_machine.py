"""The lines of deploy/README.md on a fresh Debian that systemd has booted, and its units there."""

import pytest
from deploy.installed import Installed
from deploy.machine import Machine

pytestmark = pytest.mark.deploy

# A request waits until the service takes it, as nginx's does.
HEALTHY = "curl -sS --max-time 200 -w ' %{http_code}' http://127.0.0.1:8080/healthz"


@pytest.fixture(scope="module")
def installed(debian_machine: Machine) -> Installed:
    """The service, by the lines of Install."""
    return Installed(debian_machine)


def test_installed_by_the_text_alone_it_saves_a_card(installed: Installed) -> None:
    assert installed.save("user-1").startswith("cus_")
    for path in ("/metrics", "/healthz", "/readyz"):
        outside = f"curl -sSk -o /dev/null -w '%{{http_code}}' https://127.0.0.1{path}"
        assert installed.machine.run(outside).stdout == "404", path


def test_units_are_valid_and_hardened(installed: Installed) -> None:
    """`systemd-analyze verify` exits with 0 though it complains, so its stderr is judged."""
    units = "/etc/systemd/system/coord-users.service /etc/systemd/system/coord-users.socket"
    verified = installed.machine.run(f"systemd-analyze verify {units}")
    assert verified.stderr == ""
    installed.machine.run(
        f"systemd-analyze security --offline=true --threshold=15 {units.split()[0]}"
    )


def test_start_is_over_when_requests_are_taken(installed: Installed) -> None:
    """And the key is in a file that the service alone can read, not in its environment."""
    installed.machine.run("systemctl restart coord-users.service")
    assert installed.events()[-1] == "serving"
    assert installed.state("Type", "SubState").split() == ["notify", "running"]
    pid = installed.state("MainPID").strip()
    environ = installed.machine.run(f"tr '\\0' '\\n' < /proc/{pid}/environ").stdout
    assert "sk_" not in environ
    assert "STRIPE_SECRET_KEY_FILE=/run/credentials/coord-users.service/" in environ
    # The limits of the machine that runs the tests hold in this one, too.
    assert installed.state("LimitNOFILE") == "65536\n"


def test_restart_refuses_no_caller(installed: Installed) -> None:
    """One whose connection is accepted as the service stops may find it closed, and tries again."""
    calls = f"""
        for _ in $(seq 200); do {HEALTHY} --retry 1 --retry-all-errors; echo; done > /run/calls &
        for _ in 1 2; do systemctl restart coord-users.service; done
        wait $!
        sort /run/calls | uniq --count
    """
    assert installed.machine.run(calls).stdout.split() == ["200", "alive", "200"]


def test_reload_keeps_the_process(installed: Installed) -> None:
    installed.machine.run("systemctl start coord-users.service")
    before = installed.state("MainPID")
    installed.machine.run("systemctl reload coord-users.service")
    installed.machine.run(
        "until journalctl --unit=coord-users.service | grep -q '\"reloaded\"'; do sleep 0.1; done"
    )
    assert installed.state("MainPID") == before
    assert installed.machine.run(HEALTHY).stdout == "alive 200"


def test_request_starts_the_service(installed: Installed) -> None:
    """It ends as it should when it is told to, and its socket goes on listening."""
    installed.machine.run("systemctl stop coord-users.service")
    assert installed.state("Result", "ExecMainStatus").split() == ["success", "0"]
    assert installed.machine.run(HEALTHY).stdout == "alive 200"
    # It waits for the start that is under way.
    installed.machine.run("systemctl start coord-users.service")
    assert installed.state("ActiveState") == "active\n"


def test_stopped_socket_stops_the_service(installed: Installed) -> None:
    """It stays stopped then; its start opens the socket again."""
    installed.machine.run("systemctl stop coord-users.socket")
    assert installed.state("ActiveState") == "inactive\n"
    # curl's status for a connection that is refused
    assert installed.machine.run(HEALTHY, check=False).returncode == 7
    installed.machine.run("systemctl start coord-users.service")
    assert installed.machine.run(HEALTHY).stdout == "alive 200"


def test_database_that_is_away_at_the_start(installed: Installed) -> None:
    """The service is started again without end, and needs no operator once the database is back."""
    restarts = "systemctl show --value --property=NRestarts coord-users.service"
    installed.machine.run(f"""
        systemctl stop 'postgresql@*.service'
        systemctl restart --no-block coord-users.service
        until (( $({restarts}) > 1 )); do sleep 0.2; done
        systemctl start postgresql.service
        {HEALTHY}
        systemctl start coord-users.service
    """)
    assert installed.state("ActiveState", "StartLimitIntervalUSec").split() == ["active", "0"]


def test_upgrade(installed: Installed) -> None:
    before = installed.save("user-1")
    installed.follow("upgrade")
    assert installed.customer_of("user-1") == before


def test_backup_that_was_restored(installed: Installed) -> None:
    """A user who saved a card after the backup has the same customer again."""
    before = installed.save("user-1")
    installed.follow("backup")
    forgotten = installed.save("user-2")
    assert "adopted" in installed.follow("restore")
    assert installed.customer_of("user-1") == before
    assert installed.customer_of("user-2") == forgotten
