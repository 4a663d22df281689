"""Keeps records in a file that the processes of this machine share (SQLite in WAL mode).

A commit is in the file when `save` returns, so it survives the process; with `synchronous = NORMAL` the last ones may
be lost when the machine loses power, and its calls are lost with it anyway.

The clock of the file is the time since the machine was started (CLOCK_BOOTTIME, clock_gettime(2)), which nobody can
set, counted from what the wall clock was when the file was first used since then.

What was said in a call is to be read in no file once it is deleted. Every few seconds the file is written anew without
it (SQLite, "VACUUM"), and the journal is emptied ("PRAGMA wal_checkpoint"): overwriting alone ("PRAGMA secure_delete")
leaves copies where SQLite has moved records within the file.

What becomes of the file when it is missing or broken: see `relay.state.sqlite_file`.
"""

import sqlite3
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, suppress
from pathlib import Path
from uuid import uuid4

from relay.state.backend import LEASE_S, LETTER_KEPT_S, LETTERS_MAX, Claim, answer_in, answered, pending
from relay.state.sqlite_file import SqliteFile

FILE_NAME = "relay.db"
WIPE_EVERY_S = 10.0
"""So long the files keep what was overwritten or deleted. To write them anew takes 7 ms, and what the disk takes."""

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS calls (call_sid TEXT PRIMARY KEY, owner TEXT NOT NULL, expires_at REAL, record BLOB)",
    "CREATE INDEX IF NOT EXISTS calls_by_expiry ON calls (expires_at)",
    "CREATE TABLE IF NOT EXISTS owners (owner TEXT PRIMARY KEY, alive_until REAL NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS assistant_calls (id TEXT PRIMARY KEY, owner TEXT NOT NULL, call_sid TEXT NOT NULL,"
        " whose BLOB NOT NULL, expires_at REAL NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS assistant_calls_by_expiry ON assistant_calls (expires_at)",
    (
        "CREATE TABLE IF NOT EXISTS letters"
        " (number INTEGER PRIMARY KEY, owner TEXT NOT NULL, letter BLOB NOT NULL, expires_at REAL NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS letters_by_owner ON letters (owner, number)",
    "CREATE TABLE IF NOT EXISTS answers (question TEXT PRIMARY KEY, answer BLOB NOT NULL, expires_at REAL NOT NULL)",
    "CREATE INDEX IF NOT EXISTS answers_by_expiry ON answers (expires_at)",
    "CREATE TABLE IF NOT EXISTS clock (boot_id TEXT PRIMARY KEY, booted_at REAL NOT NULL)",
)
_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")
_MAY_HAVE = (
    "(calls.owner = :owner OR calls.expires_at <= :now OR NOT EXISTS"
    " (SELECT 1 FROM owners WHERE owners.owner = calls.owner AND owners.alive_until > :now))"
)
_SAVE = (
    "INSERT INTO calls (call_sid, owner, expires_at, record) VALUES (:call_sid, :owner, :expires_at, :record)"  # noqa: S608 - constants
    " ON CONFLICT (call_sid) DO UPDATE"
    " SET owner = excluded.owner, expires_at = excluded.expires_at, record = excluded.record WHERE " + _MAY_HAVE
)
_LOAD = "SELECT record FROM calls WHERE call_sid = :call_sid AND expires_at > :now"
_TAKE = "UPDATE calls SET owner = :owner WHERE call_sid = :call_sid AND (:by_force OR " + _MAY_HAVE + ")"  # noqa: S608 - constants
_SWAP = (
    "UPDATE calls SET owner = :owner, record = :record"
    " WHERE call_sid = :call_sid AND record = :seen AND expires_at > :now"
)
_OWNS = "SELECT owner = :owner FROM calls WHERE call_sid = :call_sid AND expires_at > :now"
_DELETE = "DELETE FROM calls WHERE call_sid = :call_sid AND owner = :owner"
_RENEW = "INSERT OR REPLACE INTO owners (owner, alive_until) VALUES (:owner, :alive_until)"
_RETIRE = "DELETE FROM owners WHERE owner = :owner"
_NOTE = "INSERT OR REPLACE INTO assistant_calls VALUES (:id, :owner, :call_sid, :whose, :expires_at)"
_WHOSE = "SELECT whose FROM assistant_calls WHERE id = :id AND expires_at > :now"
_HAS_IT = (
    "COALESCE((SELECT calls.owner FROM calls WHERE calls.call_sid = assistant_calls.call_sid AND expires_at > :now),"
    " assistant_calls.owner)"
)
_POST = (
    "INSERT INTO letters (owner, letter, expires_at) SELECT has_it, :letter, :until FROM"  # noqa: S608 - constants
    " (SELECT " + _HAS_IT + " AS has_it FROM assistant_calls WHERE id = :id AND expires_at > :now)"
    " WHERE has_it <> :owner"
    " AND EXISTS (SELECT 1 FROM owners WHERE owners.owner = has_it AND owners.alive_until > :now)"
)
_BOUND_LETTERS = (
    "DELETE FROM letters WHERE number IN (SELECT number FROM (SELECT number,"
    " ROW_NUMBER() OVER (PARTITION BY owner ORDER BY number DESC) AS place FROM letters) WHERE place > :letters_max)"
)
_LETTERS = "SELECT letter FROM letters WHERE owner = :owner ORDER BY number"
_TAKEN_LETTERS = "DELETE FROM letters WHERE owner = :owner"
_CLAIM_QUESTION = (
    "INSERT INTO answers VALUES (:question, :pending, :until) ON CONFLICT (question) DO UPDATE"
    " SET answer = excluded.answer, expires_at = excluded.expires_at"
    " WHERE answers.expires_at <= :now OR answers.answer = excluded.answer"
)
_KEEP_ANSWER = "INSERT OR REPLACE INTO answers VALUES (:question, :answer, :until)"
_ANSWER = "SELECT answer FROM answers WHERE question = :question AND expires_at > :now"
_OUR_TABLES = {"calls", "owners"}
_FORGET = (
    "DELETE FROM calls WHERE expires_at <= :now",
    "DELETE FROM owners WHERE alive_until <= :now",
    "DELETE FROM assistant_calls WHERE expires_at <= :now",
    "DELETE FROM letters WHERE expires_at <= :now",
    "DELETE FROM answers WHERE expires_at <= :now",
)


def _uptime() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def file_of(path: str, environ: Mapping[str, str]) -> Path:
    """Return the database that `sqlite:path` names.

    Without a path it is in the directory that systemd gives the service for its state (systemd.exec,
    "StateDirectory="), or in ./state.
    """
    if path:
        return Path(path)
    return Path(environ.get("STATE_DIRECTORY", "").partition(":")[0] or "state", FILE_NAME)


def _this_boot() -> str:
    """Which start of the machine this is. Where nobody tells, as in a sandbox, each process has one of its own: its
    times are then those of the machine's clock when it started."""
    try:
        return _BOOT_ID.read_text(encoding="ascii").strip()
    except OSError:
        return uuid4().hex


class SqliteBackend:
    """A `Backend` in a file that only its user can read.

    The file is made when it is first needed, and opened again after an error. `uptime` is the time since the start of
    the machine, which `boot_id` names.
    """

    def __init__(
        self,
        owner: str,
        path: Path,
        *,
        lease_s: float = LEASE_S,
        uptime: Callable[[], float] = _uptime,
        boot_id: str | None = None,
    ) -> None:
        self._owner = owner
        self._file = SqliteFile(path, _SCHEMA, _OUR_TABLES)
        self._lease_s = lease_s
        self._uptime = uptime
        self._boot_id = boot_id or _this_boot()
        self._booted_at = 0.0
        self._wiped = False
        """Nothing is in the files that is deleted; at first there may be what another process has left."""
        self._wipe_at = 0.0

    def now(self) -> float:
        with self._transaction():
            return self._time()

    def save(self, call_sid: str, record: bytes, expires_at: float) -> bool:
        with self._transaction() as connection:
            self._wiped = False
            self._renew(connection)
            values = self._values(call_sid=call_sid, record=record, expires_at=expires_at)
            return connection.execute(_SAVE, values).rowcount == 1

    def load(self, call_sid: str) -> bytes | None:
        with self._transaction() as connection:
            return self._load(connection, call_sid)

    def take(self, call_sid: str, *, by_force: bool = False) -> Claim | None:
        with self._transaction() as connection:
            self._renew(connection)
            record = self._load(connection, call_sid)
            if record is None:
                return None
            taken = connection.execute(_TAKE, self._values(call_sid=call_sid, by_force=by_force)).rowcount == 1
            return Claim(record, taken)

    def swap(self, call_sid: str, seen: bytes, record: bytes) -> bool:
        with self._transaction() as connection:
            self._renew(connection)
            self._wiped = False
            values = self._values(call_sid=call_sid, seen=seen, record=record)
            return connection.execute(_SWAP, values).rowcount == 1

    def owns(self, call_sids: Sequence[str]) -> list[bool | None]:
        with self._transaction() as connection:
            rows = [connection.execute(_OWNS, self._values(call_sid=sid)).fetchone() for sid in call_sids]
            return [None if row is None else bool(row[0]) for row in rows]

    def delete(self, call_sid: str) -> None:
        with self._transaction() as connection:
            self._wiped = False
            connection.execute(_DELETE, self._values(call_sid=call_sid))

    def note(self, assistant_call_id: str, call_sid: str, whose: bytes, keep_s: float) -> None:
        with self._transaction() as connection:
            more = {"id": assistant_call_id, "call_sid": call_sid, "whose": whose}
            connection.execute(_NOTE, self._values(**more, expires_at=self._time() + keep_s))

    def whose(self, assistant_call_id: str) -> bytes | None:
        with self._transaction() as connection:
            row = connection.execute(_WHOSE, self._values(id=assistant_call_id)).fetchone()
            return bytes(row[0]) if row else None

    def post(self, letters: Sequence[tuple[str, bytes]]) -> int:
        with self._transaction() as connection:
            until = self._time() + LETTER_KEPT_S
            for assistant_call_id, letter in letters:
                connection.execute(_POST, self._values(id=assistant_call_id, letter=letter, until=until))
            return connection.execute(_BOUND_LETTERS, {"letters_max": LETTERS_MAX}).rowcount

    def letters(self) -> list[bytes]:
        with self._transaction() as connection:
            found = [bytes(letter) for (letter,) in connection.execute(_LETTERS, self._values())]
            if found:
                connection.execute(_TAKEN_LETTERS, self._values())
            return found

    def claim_question(self, question: str, hold_s: float) -> bool:
        with self._transaction() as connection:
            values = self._values(question=question, pending=pending(self._owner), until=self._time() + hold_s)
            return connection.execute(_CLAIM_QUESTION, values).rowcount == 1

    def keep_answer(self, question: str, answer: bytes, keep_s: float) -> None:
        with self._transaction() as connection:
            self._wiped = False
            values = self._values(question=question, answer=answered(answer), until=self._time() + keep_s)
            connection.execute(_KEEP_ANSWER, values)

    def answer_to(self, question: str) -> bytes | None:
        with self._transaction() as connection:
            row = connection.execute(_ANSWER, self._values(question=question)).fetchone()
            return answer_in(bytes(row[0])) if row else None

    def beat(self) -> None:
        with self._transaction() as connection:
            self._renew(connection)
            for statement in _FORGET:
                self._wiped &= connection.execute(statement, self._values()).rowcount == 0
        if not self._wiped and self._uptime() >= self._wipe_at:
            self._wipe()

    def retire(self) -> None:
        with self._transaction() as connection:
            connection.execute(_RETIRE, self._values())
        if not self._wiped:
            self._wipe()

    def close(self) -> None:
        self._file.close()

    def _transaction(self) -> AbstractContextManager[sqlite3.Connection]:
        return self._file.transaction(self._note_clock)

    def _note_clock(self, connection: sqlite3.Connection) -> None:
        self._booted_at = self._agree_on_clock(connection)

    def _wipe(self) -> None:
        self._wipe_at = self._uptime() + WIPE_EVERY_S
        with self._file.opened() as connection, suppress(sqlite3.OperationalError):  # busy, or no room: later
            connection.execute("VACUUM")
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._wiped = not busy

    def _load(self, connection: sqlite3.Connection, call_sid: str) -> bytes | None:
        row = connection.execute(_LOAD, self._values(call_sid=call_sid)).fetchone()
        return bytes(row[0]) if row else None

    def _renew(self, connection: sqlite3.Connection) -> None:
        connection.execute(_RENEW, self._values(alive_until=self._time() + self._lease_s))

    def _values(self, **more: object) -> dict[str, object]:
        return {"owner": self._owner, "now": self._time(), **more}

    def _time(self) -> float:
        return self._booted_at + self._uptime()

    def _agree_on_clock(self, connection: sqlite3.Connection) -> float:
        """When the machine was started, as the first process said that has used the file since then. No owner of
        another start of the machine lives."""
        starts = dict(connection.execute("SELECT boot_id, booted_at FROM clock").fetchall())
        if self._boot_id not in starts:
            if starts:
                connection.execute("DELETE FROM owners")
                connection.execute("DELETE FROM clock")
            starts[self._boot_id] = time.time() - self._uptime()
            connection.execute("INSERT INTO clock VALUES (?, ?)", (self._boot_id, starts[self._boot_id]))
        return float(starts[self._boot_id])
