"""A database file that the processes of this machine share (SQLite in WAL mode), and that only its user can read.

| the file                  | then                                                                                    |
|---------------------------|-----------------------------------------------------------------------------------------|
| is missing, or cannot be  | each operation fails until it can                                                       |
| opened, read or written   |                                                                                         |
| is no database any more   | it is renamed to `NAME.broken`, in place of an older one, and the operation fails;      |
|                           | the next one begins a new file                                                          |
| is another program's      | it is left as it is; each operation fails                                               |
| is removed, or replaced,  | the operation fails that finds it out; the next one opens what is there then, or begins |
| while it is open          | a new file                                                                              |
"""

import errno
import os
import sqlite3
import time
from collections.abc import Callable, Iterator, Sequence, Set
from contextlib import contextmanager, suppress
from pathlib import Path

import structlog

BUSY_TIMEOUT_S = 1.0
"""So long another process's write is waited for, which takes milliseconds."""
BUSY_STEP_S = 0.005
_BESIDE = ("-wal", "-shm")
"""What the names of the files end with that SQLite keeps beside a database ("Write-Ahead Logging")."""
_BROKEN = {sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB}
_PRIMARY_CODE = 0xFF
"""The part of an extended result code that says the kind (SQLite, "Result and Error Codes")."""
_FILE_MODE = 0o600
_FOLDER_MODE = 0o700
_TABLES = "SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%'"

log = structlog.get_logger(__name__)


class SqliteFile:
    """Made when it is first needed, and opened again after an error. One thread may use it at a time.

    `schema` are the statements that make its tables where they are missing, `tables` those by which it is known.
    """

    def __init__(self, path: Path, schema: Sequence[str], tables: Set[str]) -> None:
        self.path = path
        self._schema = schema
        self._tables = tables
        self._connection: sqlite3.Connection | None = None
        self._inodes: tuple[int | None, ...] = ()
        """Of the database and its journal, as they were opened."""

    @contextmanager
    def transaction(self, begun: Callable[[sqlite3.Connection], None] = lambda _: None) -> Iterator[sqlite3.Connection]:
        """All that is done in it is done together, or not at all. `begun` is called in the first after each opening."""
        with self.opened() as connection:
            # At once for writing: a read that becomes a write may be refused without a wait (SQLite, "Transactions").
            connection.execute("BEGIN IMMEDIATE")
            if not self._inodes:
                begun(connection)
                self._inodes = _inodes(self.path)
            yield connection
            connection.execute("COMMIT")

    @contextmanager
    def opened(self) -> Iterator[sqlite3.Connection]:
        """The connection, outside of any transaction. Whatever is raised while it is used closes it."""
        there: tuple[int | None, ...] = ()
        try:
            there = _inodes(self.path)
            self._connection = self._connection or _connect(self.path, self._schema, self._tables)
            self._check_same(there)
            yield self._connection
        except BaseException as error:
            self.close()  # which rolls back
            # Another process may have set it aside already, and begun a new one.
            if isinstance(error, sqlite3.Error) and _is_broken(error) and there[:1] == _inodes(self.path)[:1]:
                _set_aside(self.path, error)
            raise

    def close(self) -> None:
        """Let go of the file."""
        if self._connection is not None:
            self._connection.close()
        self._connection, self._inodes = None, ()

    def _check_same(self, there: tuple[int | None, ...]) -> None:
        """SQLite itself would go on with files that nobody else finds any more."""
        if self._inodes and self._inodes != there:
            raise FileNotFoundError(errno.ENOENT, "the database was removed or replaced", str(self.path))


def _connect(path: Path, schema: Sequence[str], tables: Set[str]) -> sqlite3.Connection:
    path.parent.mkdir(mode=_FOLDER_MODE, parents=True, exist_ok=True)
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, _FILE_MODE))
    connection = sqlite3.connect(path, timeout=BUSY_TIMEOUT_S, isolation_level=None, check_same_thread=False)
    try:
        _check_ours(connection, tables)
        _make_private(path)
        _write_ahead(connection)
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute("PRAGMA secure_delete = ON")
        connection.execute("PRAGMA temp_store = MEMORY")  # for VACUUM
        connection.execute("BEGIN IMMEDIATE")  # who comes meanwhile must not find some of the tables
        for statement in schema:
            connection.execute(statement)
        connection.execute("COMMIT")
    except BaseException:
        connection.close()
        raise
    return connection


def _write_ahead(connection: sqlite3.Connection) -> None:
    """Have changes go to a log first. While another process makes the same change SQLite refuses this one, and does not
    wait as it does otherwise."""
    until = time.monotonic() + BUSY_TIMEOUT_S
    while True:
        try:
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY_CODE != sqlite3.SQLITE_BUSY or time.monotonic() >= until:
                raise
            time.sleep(BUSY_STEP_S)
        else:
            return


def _check_ours(connection: sqlite3.Connection, ours: Set[str]) -> None:
    tables = {name for (name,) in connection.execute(_TABLES)}
    if tables and not tables >= ours:
        raise sqlite3.OperationalError("the database is another program's")


def _make_private(path: Path) -> None:
    """Make the files readable by their user only. SQLite gives those that it makes the mode of the database."""
    for file in _files(path):
        with suppress(FileNotFoundError):
            file.chmod(_FILE_MODE)


def _files(path: Path) -> list[Path]:
    """The database, and the files that SQLite keeps beside it."""
    return [path, *(path.with_name(path.name + end) for end in _BESIDE)]


def _inodes(path: Path) -> tuple[int | None, ...]:
    """By which a database and its journal are told from others of their names; None for one that is not there."""
    found: list[int | None] = []
    for file in _files(path)[:2]:
        try:
            found.append(file.stat().st_ino)
        except FileNotFoundError:
            found.append(None)
    return tuple(found)


def _is_broken(error: sqlite3.Error) -> bool:
    return getattr(error, "sqlite_errorcode", 0) & _PRIMARY_CODE in _BROKEN


def _set_aside(path: Path, error: sqlite3.Error) -> None:
    """Rename a broken database, the files beside it first: a new one must not find the journal of another."""
    aside = path.with_name(f"{path.name}.broken")
    try:
        for file, renamed in reversed(list(zip(_files(path), _files(aside), strict=True))):
            renamed.unlink(missing_ok=True)
            with suppress(FileNotFoundError):
                file.rename(renamed)
    except OSError:
        return  # that the store is unavailable is said once; this would be said with each try
    else:
        log.error("state.set_aside", file=str(path), renamed_to=aside.name, error=str(error))
