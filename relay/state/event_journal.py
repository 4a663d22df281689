"""Keeps the events that have come and those that wait to be passed on, in a file that the processes of a machine share.

An event is in the file when `exchange` returns, so it survives the process; a loss of power may take the last ones.

| an event | meaning                                  | leaves when                                    | deadline |
|----------|------------------------------------------|------------------------------------------------|----------|
| behind   | an older one of its call is in the file  | that is gone -> due                            | KEPT_S   |
| due      | nobody delivers it now                   | somebody takes it -> taken                     | KEPT_S   |
| taken    | a process delivers it                    | that succeeded -> gone; it failed -> due, after| `lease_s`|
|          |                                          | its pause; the process died: the lease -> due  |          |
| gone     | known by its id still                    |                                                | SEEN_S   |

What is over a deadline in KEPT_S, or the oldest when the file holds more than STORED_MAX_BYTES, is given up.

An answer to a question is known for SEEN_S too, and the newest ANSWERS_MAX_BYTES of them.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Literal
from urllib.parse import quote

from relay.state.sqlite_file import SqliteFile

SEEN_S = 600.0
"""Vapi's retries, as they are ordered here, end within three minutes."""
SEEN_MAX = 300_000
"""Ids that are known: 500 a second in SEEN_S."""
KEPT_S = 86_400.0
STORED_MAX_BYTES = 256 * 2**20
CALL_KEPT_S = 86_400.0
"""Whose call an assistant's call was is known so long."""
ANSWERS_MAX_BYTES = 16 * 2**20
_GIVEN_UP_AT_ONCE = 100
_WIPE_EVERY_S = 10.0

_SCHEMA = (
    "CREATE TABLE IF NOT EXISTS seen (number INTEGER PRIMARY KEY, delivery_id TEXT UNIQUE NOT NULL, at REAL NOT NULL)",
    (
        "CREATE TABLE IF NOT EXISTS waiting (number INTEGER PRIMARY KEY AUTOINCREMENT, delivery_id TEXT NOT NULL,"
        " type TEXT NOT NULL, line TEXT NOT NULL, call_id TEXT, call_sid TEXT, accepted_at REAL NOT NULL, due_at REAL,"
        " tries INTEGER NOT NULL DEFAULT 0, message BLOB NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS waiting_by_line ON waiting (line, number)",
    "CREATE INDEX IF NOT EXISTS waiting_by_due ON waiting (due_at) WHERE due_at IS NOT NULL",
    (
        "CREATE TABLE IF NOT EXISTS assistant_calls"
        " (id TEXT PRIMARY KEY, call_id TEXT NOT NULL, call_sid TEXT NOT NULL, at REAL NOT NULL)"
    ),
    "CREATE INDEX IF NOT EXISTS assistant_calls_by_age ON assistant_calls (at)",
    "CREATE TABLE IF NOT EXISTS answers (number INTEGER PRIMARY KEY, delivery_id TEXT UNIQUE, at REAL, body BLOB)",
    "CREATE TABLE IF NOT EXISTS accepted (one INTEGER PRIMARY KEY CHECK (one = 1), count INTEGER, last_at REAL)",
)
_SEE = "INSERT OR IGNORE INTO seen (delivery_id, at) VALUES (?, ?)"
_FORGET_SEEN = (
    "DELETE FROM seen WHERE number IN (SELECT number FROM seen ORDER BY number LIMIT 200)"
    " AND (at < ? OR at > ? OR number <= (SELECT MAX(number) FROM seen) - ?)"
)
_ACCEPT = (
    "INSERT INTO accepted VALUES (1, ?, ?)"
    " ON CONFLICT (one) DO UPDATE SET count = count + excluded.count, last_at = excluded.last_at"
)
_WAIT = (
    "INSERT INTO waiting (delivery_id, type, line, call_id, call_sid, accepted_at, due_at, message)"
    " VALUES (:delivery_id, :type, :line, :call_id, :call_sid, :now,"
    " CASE WHEN EXISTS (SELECT 1 FROM waiting WHERE line = :line) THEN NULL ELSE :now END, :message)"
)
_DUE = (
    "SELECT number, delivery_id, type, call_id, call_sid, accepted_at, tries, message FROM waiting"
    " WHERE due_at IS NOT NULL AND (due_at <= ? OR due_at > ?) ORDER BY due_at LIMIT ?"
)
_LINE = "SELECT line FROM waiting WHERE number = ?"
_REMOVE = "DELETE FROM waiting WHERE number = ?"
_PROMOTE = (
    "UPDATE waiting SET due_at = ? WHERE due_at IS NULL"
    " AND number = (SELECT number FROM waiting WHERE line = ? ORDER BY number LIMIT 1)"
)
_OLDEST = "SELECT number, delivery_id, type, call_id, accepted_at FROM waiting ORDER BY number LIMIT ?"
_FORGET_ANSWERS = "DELETE FROM answers WHERE at < ? OR at > ?"
_BOUND_ANSWERS = (
    "DELETE FROM answers WHERE number IN (SELECT number FROM"
    " (SELECT number, SUM(LENGTH(body)) OVER (ORDER BY number DESC) AS bytes FROM answers) WHERE bytes > ?)"
)
_KEEP_ANSWER = "INSERT OR REPLACE INTO answers (delivery_id, at, body) VALUES (?, ?, ?)"
_ANSWER = "SELECT body FROM answers WHERE delivery_id = ?"
_WHOSE = "SELECT call_id, call_sid FROM assistant_calls WHERE id = ?"
_LONGEST_PAUSE_S = 3600.0
"""No lease and no pause is longer: a time that is later still is of a clock that was set back since."""


@dataclass(frozen=True, slots=True)
class AssistantCallNote:
    """An assistant's call belongs to this call of ours."""

    assistant_call_id: str
    call_id: str
    call_sid: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """An event that has come. `message` is what is to be passed on; None: it is only to be known again."""

    delivery_id: str
    type: str
    assistant_call_id: str | None
    relay_call_id: str | None
    message: bytes | None


@dataclass(frozen=True, slots=True)
class Acceptance:
    """`new`: it has not come before. The ids are those of our call, None where it is none of ours. `answer` is what it
    was answered with before, if it was, and that is known still."""

    new: bool
    call_id: str | None
    call_sid: str | None
    answer: bytes | None = None


@dataclass(frozen=True, slots=True)
class EventAnswer:
    """What a question is answered with."""

    delivery_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class EventDelivery:
    """An event that is this process's to deliver, until its lease ends."""

    number: int
    delivery_id: str
    type: str
    call_id: str | None
    call_sid: str | None
    accepted_at: float
    tries: int
    message: bytes


@dataclass(frozen=True, slots=True)
class DeliveryOutcome:
    """What came of a delivery. `retry_in_s`: it failed, and is due again then; None: it succeeded."""

    number: int
    retry_in_s: float | None


@dataclass(frozen=True, slots=True)
class GivenUp:
    delivery_id: str
    type: str
    call_id: str | None
    cause: Literal["age", "full"]


@dataclass(frozen=True, slots=True)
class Exchanged:
    """`next_at` is when another event is due, None when none waits."""

    acceptances: list[Acceptance]
    deliveries: list[EventDelivery]
    given_up: list[GivenUp]
    waiting: int
    next_at: float | None


class EventJournal:
    """All blocks; one thread may use it at a time. Errors are those of `sqlite3`, and OSError.

    `lease_s`: how long a process may take for a delivery, before another takes it too.
    """

    def __init__(self, path: Path, *, lease_s: float, max_bytes: int = STORED_MAX_BYTES) -> None:
        self._file = SqliteFile(path, _SCHEMA, {"seen", "waiting"})
        self._lease_s = lease_s
        self._max_bytes = max_bytes
        self._wiped = True
        self._wipe_at = 0.0

    def exchange(
        self,
        now: float,
        *,
        notes: Sequence[AssistantCallNote] = (),
        arrivals: Sequence[Arrival] = (),
        answers: Sequence[EventAnswer] = (),
        outcomes: Sequence[DeliveryOutcome] = (),
        room: int = 0,
    ) -> Exchanged:
        """Keep what is given, in one transaction, and take up to `room` deliveries. `now` is Unix time."""
        with self._file.transaction() as connection:
            for note in notes:
                values = (note.assistant_call_id, note.call_id, note.call_sid, now)
                connection.execute("INSERT OR REPLACE INTO assistant_calls VALUES (?, ?, ?, ?)", values)
            acceptances = [_accept(connection, arrival, now) for arrival in arrivals]
            connection.executemany(_KEEP_ANSWER, [(it.delivery_id, now, it.body) for it in answers])
            if answers:
                connection.execute(_BOUND_ANSWERS, (ANSWERS_MAX_BYTES,))
            if new := sum(it.new for it in acceptances):
                connection.execute(_ACCEPT, (new, now))
            for outcome in outcomes:
                self._settle(connection, outcome, now)
            given_up = list(self._give_up(connection, now))
            forgotten = _forget(connection, now)
            deliveries = self._take(connection, now, room)
            (waiting,) = connection.execute("SELECT COUNT(*) FROM waiting").fetchone()
            (next_at,) = connection.execute("SELECT MIN(due_at) FROM waiting WHERE due_at IS NOT NULL").fetchone()
        self._wiped &= not (outcomes or given_up or answers or forgotten)
        if not waiting and not self._wiped and now >= self._wipe_at:
            self._wipe(now)
        return Exchanged(acceptances, deliveries, given_up, waiting, next_at)

    def accepted(self) -> tuple[int, float | None]:
        """How many events were ever accepted, and when the last one was, in Unix time."""
        with self._file.transaction() as connection:
            row = connection.execute("SELECT count, last_at FROM accepted").fetchone()
        return (int(row[0]), float(row[1])) if row else (0, None)

    def close(self) -> None:
        """Let go of the file."""
        self._file.close()

    def _take(self, connection: sqlite3.Connection, now: float, room: int) -> list[EventDelivery]:
        rows = connection.execute(_DUE, (now, now + _LONGEST_PAUSE_S, room)).fetchall() if room else []
        leases = [(now + self._lease_s, row[0]) for row in rows]
        connection.executemany("UPDATE waiting SET due_at = ? WHERE number = ?", leases)
        return [EventDelivery(*row) for row in rows]

    def _settle(self, connection: sqlite3.Connection, outcome: DeliveryOutcome, now: float) -> None:
        if outcome.retry_in_s is None:
            _remove(connection, outcome.number, now)
            return
        values = (now + outcome.retry_in_s, outcome.number)
        connection.execute("UPDATE waiting SET due_at = ?, tries = tries + 1 WHERE number = ?", values)

    def _give_up(self, connection: sqlite3.Connection, now: float) -> Iterator[GivenUp]:
        is_full = self._stored_bytes(connection) > self._max_bytes
        for number, delivery_id, kind, call_id, at in connection.execute(_OLDEST, (_GIVEN_UP_AT_ONCE,)).fetchall():
            if at >= now - KEPT_S and not is_full:
                return
            _remove(connection, number, now)
            yield GivenUp(delivery_id, kind, call_id, "age" if at < now - KEPT_S else "full")
            is_full = self._stored_bytes(connection) > self._max_bytes

    @staticmethod
    def _stored_bytes(connection: sqlite3.Connection) -> int:
        pages, free, size = (
            connection.execute(f"PRAGMA {it}").fetchone()[0] for it in ("page_count", "freelist_count", "page_size")
        )
        return int((pages - free) * size)

    def _wipe(self, now: float) -> None:
        """The journal of the file holds what was deleted, which is what callers said ("PRAGMA wal_checkpoint")."""
        self._wipe_at = now + _WIPE_EVERY_S
        with self._file.opened() as connection, suppress(sqlite3.OperationalError):  # busy: later
            busy, *_ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            self._wiped = not busy


def ever_accepted(path: Path) -> int:
    """How many events were ever accepted, by the file alone, which is only read; 0 without a file that says so."""
    try:
        with closing(sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)) as connection:
            row = connection.execute("SELECT count FROM accepted").fetchone()
    except sqlite3.Error:
        return 0
    return int(row[0]) if row else 0


def _accept(connection: sqlite3.Connection, arrival: Arrival, now: float) -> Acceptance:
    whose = connection.execute(_WHOSE, (arrival.assistant_call_id,)).fetchone()
    call_id, call_sid = whose or (arrival.relay_call_id, None)
    new = connection.execute(_SEE, (arrival.delivery_id, now)).rowcount == 1
    if new and arrival.message is not None:
        values = {
            "delivery_id": arrival.delivery_id,
            "type": arrival.type,
            "line": arrival.assistant_call_id or arrival.delivery_id,
            "call_id": call_id,
            "call_sid": call_sid,
            "now": now,
            "message": arrival.message,
        }
        connection.execute(_WAIT, values)
    answer = None if new else connection.execute(_ANSWER, (arrival.delivery_id,)).fetchone()
    return Acceptance(new, call_id, call_sid, answer and answer[0])


def _remove(connection: sqlite3.Connection, number: int, now: float) -> None:
    row = connection.execute(_LINE, (number,)).fetchone()
    if row is not None:
        connection.execute(_REMOVE, (number,))
        connection.execute(_PROMOTE, (now, row[0]))


def _forget(connection: sqlite3.Connection, now: float) -> bool:
    """Whether that was anything that somebody said."""
    connection.execute(_FORGET_SEEN, (now - SEEN_S, now + SEEN_S, SEEN_MAX))
    connection.execute("DELETE FROM assistant_calls WHERE at < ?", (now - CALL_KEPT_S,))
    return connection.execute(_FORGET_ANSWERS, (now - SEEN_S, now + SEEN_S)).rowcount > 0
