"""Statements that are compiled once: what they do is what SQLAlchemy's own do."""

import pytest
from sqlalchemy import bindparam, insert, select
from sqlalchemy.exc import IntegrityError

from app.storage.database import Database
from app.storage.prepared import Prepared
from app.storage.tables import now, partners

ADD = (
    insert(partners)
    .values(name=bindparam("p_name"), created_at=now())
    .returning(partners.c.id, partners.c.name)
)


@pytest.mark.both_databases
def test_statement_is_executed_with_the_values_given(database_url: str) -> None:
    """Any number of times; columns have their names."""
    database = Database(database_url)
    prepared = Prepared(ADD, database.engine.dialect)
    with database.engine.begin() as connection:
        added = [prepared.run(connection, {"p_name": name}).one().name for name in ("a", "b")]
        stored = connection.execute(select(partners.c.name).order_by(partners.c.name)).scalars()
        assert added == list(stored) == ["a", "b"]
    with pytest.raises(IntegrityError), database.engine.begin() as connection:
        prepared.run(connection, {"p_name": "a"})
    database.close()
