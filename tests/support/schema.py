"""The way back before the first migration."""

from sqlalchemy import Connection, text


def drop_all_tables(connection: Connection) -> None:
    """Leave an empty database."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("DROP SCHEMA public CASCADE"))
        connection.execute(text("CREATE SCHEMA public"))
        return
    connection.execute(text("PRAGMA foreign_keys = OFF"))
    names = connection.scalars(text("SELECT name FROM sqlite_schema WHERE type = 'table'")).all()
    for name in names:
        connection.execute(text(f"DROP TABLE {name}"))
    connection.execute(text("PRAGMA foreign_keys = ON"))
