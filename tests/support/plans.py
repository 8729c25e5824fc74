"""How the databases find the rows of `users`, in a table that is not small."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from typing import Any

from sqlalchemy import event, text

from app.storage.database import Database

# So many that a plan which reads them all costs more than one by an index.
CROWD = 20_000


def crowd(database: Database, issuer_ids: tuple[int, int]) -> None:
    """Put users into the table, in turn of one and the other registration."""
    first, second = issuer_ids
    is_sqlite = database.engine.dialect.name == "sqlite"
    name = "'user-' || number"
    user_hash = f"CAST({name} AS BLOB)" if is_sqlite else f"convert_to({name}, 'UTF8')"
    statement = text(
        "INSERT INTO users"
        " (issuer_id, subject, user_hash, stripe_customer_id, lease_until, attempt_id)"
        " WITH RECURSIVE crowd(number) AS"
        " (SELECT 1 UNION ALL SELECT number + 1 FROM crowd WHERE number < :crowd)"
        " SELECT CASE WHEN number % 2 = 1 THEN :first ELSE :second END,"
        f" {name}, {user_hash}, 'cus_' || number,"
        " CASE WHEN number % 5000 = 0 THEN 5.0 END,"
        " CASE WHEN number % 5000 = 0 THEN 'attempt-' || number END FROM crowd"
    )
    with database.writing() as connection:
        connection.execute(statement, {"first": first, "second": second, "crowd": CROWD})
        connection.execute(text("ANALYZE"))


@contextmanager
def explained(database: Database) -> Iterator[list[str]]:
    """Yield the plans of the queries of `users` that are executed in the block."""
    plans: list[str] = []
    is_sqlite = database.engine.dialect.name == "sqlite"
    explain = "EXPLAIN QUERY PLAN " if is_sqlite else "EXPLAIN "

    def before(connection: Any, _: object, statement: str, parameters: Any, *_more: object) -> None:
        if "users" in statement and statement.startswith("SELECT"):
            with closing(connection.connection.cursor()) as cursor:
                cursor.execute(explain + statement, parameters)
                plans.append("\n".join(str(row[-1]) for row in cursor.fetchall()))

    event.listen(database.engine, "before_cursor_execute", before)
    try:
        yield plans
    finally:
        event.remove(database.engine, "before_cursor_execute", before)


def reads_all(plan: str) -> bool:
    """Return whether a plan reads the whole table."""
    return "SCAN users" in plan or "Seq Scan on users" in plan


def sorts(plan: str) -> bool:
    """Return whether a plan sorts rows."""
    return "TEMP B-TREE" in plan or "Sort" in plan
