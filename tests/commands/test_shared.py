"""The table that commands print."""

from collections.abc import Iterator

import pytest

from app.commands.shared import PAGE, print_table


def test_table_is_printed_while_its_rows_are_read(capsys: pytest.CaptureFixture[str]) -> None:
    """Ten million users fit into no memory; a column grows where a later cell is wider."""

    def rows() -> Iterator[dict[str, object]]:
        for number in range(PAGE):
            yield {"id": number, "name": None}
        assert capsys.readouterr().out.startswith("id   name\n0\n1\n")
        yield {"id": "x" * 7, "name": "last"}

    print_table(rows())
    assert capsys.readouterr().out == "xxxxxxx  last\n"


def test_no_rows_are_no_table(capsys: pytest.CaptureFixture[str]) -> None:
    print_table([])
    assert capsys.readouterr().out == ""
