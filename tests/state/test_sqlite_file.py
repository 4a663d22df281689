"""The file of the stores: who can read it, what is done in one transaction, and what becomes of one that is unusable.

What happens to the records in it is in test_sqlite.py.
"""

import sqlite3
import stat
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from relay.state.sqlite_file import SqliteFile

SCHEMA = ("CREATE TABLE IF NOT EXISTS things (name TEXT PRIMARY KEY)",)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[SqliteFile]:
    with closing(SqliteFile(tmp_path / "folder" / "x.db", SCHEMA, {"things"})) as made:
        yield made


def add(file: SqliteFile, name: str) -> None:
    with file.transaction() as connection:
        connection.execute("INSERT INTO things VALUES (?)", (name,))


def things(file: SqliteFile) -> list[str]:
    with file.transaction() as connection:
        return [name for (name,) in connection.execute("SELECT name FROM things ORDER BY name")]


def test_only_its_user_can_read_it(file: SqliteFile) -> None:
    add(file, "a")

    modes = {stat.S_IMODE(it.stat().st_mode) for it in file.path.parent.iterdir()}
    assert (modes, stat.S_IMODE(file.path.parent.stat().st_mode)) == ({0o600}, 0o700)


def test_what_fails_in_the_middle_has_not_happened(file: SqliteFile) -> None:
    add(file, "a")
    with pytest.raises(sqlite3.IntegrityError), file.transaction() as connection:
        connection.executemany("INSERT INTO things VALUES (?)", [("b",), ("a",)])

    assert things(file) == ["a"]


def test_one_that_is_no_database_is_set_aside_and_the_next_use_begins_a_new_one(file: SqliteFile) -> None:
    file.path.parent.mkdir()
    file.path.write_bytes(b"no database at all, but longer than the head of one" * 50)
    with pytest.raises(sqlite3.DatabaseError):
        things(file)

    assert things(file) == []
    assert file.path.with_name("x.db.broken").exists()


def test_another_program_s_is_left_as_it_is(file: SqliteFile) -> None:
    file.path.parent.mkdir()
    with closing(sqlite3.connect(file.path)) as other:
        other.execute("CREATE TABLE theirs (x)")
    before = file.path.read_bytes()
    with pytest.raises(sqlite3.OperationalError):
        things(file)

    assert file.path.read_bytes() == before


def test_one_that_was_removed_is_noticed_and_made_anew(file: SqliteFile) -> None:
    add(file, "a")
    for it in file.path.parent.iterdir():
        it.unlink()
    with pytest.raises(FileNotFoundError):
        things(file)

    assert things(file) == []


def test_another_process_finds_all_tables_of_a_new_file_or_none(tmp_path: Path) -> None:
    """With some of them it would take the file for another program's."""
    path, found = tmp_path / "new.sqlite", list[set[str]]()

    class WatchedSchema(list[str]):
        def __iter__(self) -> Iterator[str]:
            for statement in super().__iter__():
                yield statement
                with closing(sqlite3.connect(path)) as other:
                    found.append({name for (name,) in other.execute("SELECT name FROM sqlite_master")})

    schema = WatchedSchema(f"CREATE TABLE IF NOT EXISTS {name} (value)" for name in ("one", "two", "three"))
    file = SqliteFile(path, schema, {"one", "two"})
    with file.transaction() as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    file.close()

    assert tables == {"one", "two", "three"}
    assert found == [set(), set(), set()]
