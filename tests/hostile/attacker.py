"""The attacker is a process of its own: `python -m tests.hostile.attacker SPEC`, with the JSON of an `AttackSpec`.

It is polite to the machine, so that the relay is measured and not the machine: it shares the core of the live calls at
the lowest priority, and is bounded in connections, in connections a second, and in bytes a second. Prints one JSON
object, the fields of `AttackResult`.
"""

import http.client
import re
import resource
import socket
import sys
import time
from collections import Counter
from typing import NamedTuple

import msgspec

from relay.bench.caller import SetupFailed
from relay.bench.reactor import RECEIVE_BYTES, Reactor
from relay.bench.websocket import HEAD_END
from tests.hostile.attacks import BY_NAME, SESSION, SLOW_S, TOKEN, Attack
from tests.hostile.entry import begin_session, let_in

TICK_S = 0.02
RECEIVE_BUFFER_MIN_BYTES = 4096
"""Of a peer that does not read: what the relay answers stays with the relay."""
ANSWER_BYTES = 200
"""So much of an answer is looked at."""
_STATUS = re.compile(rb"HTTP/1\.1 (\d{3})")


class AttackSpec(msgspec.Struct):
    """Connections of one attack, from these addresses in turn.

    total: how many are made. at_once: how many are open at most. per_s: how many are made in a second at most.
    hold_s: how long each stays, unless the relay closes it. seconds: after so long the attack is over.
    flood_bytes_per_s: what all of them together send at most.
    """

    name: str
    port: int
    addresses: list[str]
    total: int
    at_once: int
    per_s: float
    hold_s: float
    seconds: float
    flood_bytes_per_s: float


class AttackResult(msgspec.Struct):
    """What the relay did. refused: connections that were not taken. closed: those that the relay closed.

    answers: HTTP statuses, and how many of each.
    """

    made: int = 0
    refused: int = 0
    closed: int = 0
    most_open: int = 0
    sent_bytes: int = 0
    seconds: float = 0.0
    answers: dict[str, int] = {}


class Sending(NamedTuple):
    """What a connection sends at once, when that was answered, and from then on."""

    opening: bytes
    first: bytes
    more: bytes


class Attacker:
    """All connections of one attack."""

    def __init__(self, spec: AttackSpec) -> None:
        self.spec = spec
        self.attack = BY_NAME[spec.name]
        self.reactor = Reactor()
        self.result = AttackResult()
        self.answers: Counter[str] = Counter()
        self.live: set[Connection] = set()
        self._began = time.monotonic()

    def run(self) -> AttackResult:
        """Until all connections were made and are over, or the time is."""
        self.reactor.at(self._began, self._connect)
        self.reactor.run_until(self._began + self.spec.seconds, lambda: self._all_made and not self.live)
        for connection in list(self.live):
            connection.close()
        self.result.answers = dict(self.answers)
        self.result.seconds = round(time.monotonic() - self._began, 3)
        return self.result

    @property
    def _all_made(self) -> bool:
        return self.result.made + self.result.refused >= self.spec.total

    def _connect(self) -> float | None:
        """Make those that are due; returns when the next are."""
        now = time.monotonic()
        due = min(self.spec.total, int((now - self._began) * self.spec.per_s) + 1)
        while self.result.made + self.result.refused < due and len(self.live) < self.spec.at_once:
            self._make(self.result.made + self.result.refused)
        return None if self._all_made else now + TICK_S / 2

    def _make(self, number: int) -> None:
        try:
            sending = self._beginning(number)
        except (SetupFailed, OSError, http.client.HTTPException):
            self.result.refused += 1
            return
        sock = socket.socket()
        sock.setblocking(False)
        if not self.attack.reads:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, RECEIVE_BUFFER_MIN_BYTES)
        try:
            sock.bind((self._address(number), 0))
            sock.connect(("127.0.0.1", self.spec.port))
        except BlockingIOError:
            pass
        except OSError:
            sock.close()
            self.result.refused += 1
            return
        self.result.made += 1
        self.live.add(Connection(self, sock, self.attack, sending))
        self.result.most_open = max(self.result.most_open, len(self.live))

    def _beginning(self, number: int) -> Sending:
        attack = self.attack
        if attack.polls:
            session, token = begin_session(self.spec.port, self._address(number))
            return Sending(b"", b"", attack.more.replace(SESSION, session).replace(TOKEN, token))
        if attack.in_call:
            opening, entry = let_in(number, self.spec.port)
            return Sending(opening, entry + attack.first, attack.more)
        return Sending(attack.opening(number), attack.first, attack.more)

    def _address(self, number: int) -> str:
        return self.spec.addresses[number % len(self.spec.addresses)]

    def flood_pause_s(self, block_bytes: int) -> float:
        """How long each connection waits after a block, so that all together keep to the limit."""
        return max(TICK_S, block_bytes * len(self.live) / self.spec.flood_bytes_per_s)


class Connection:
    """One connection to the relay."""

    def __init__(self, attacker: Attacker, sock: socket.socket, attack: Attack, sending: Sending) -> None:
        self._attacker = attacker
        self._socket = sock
        self._attack = attack
        self._unsent, self._first, self._more = sending
        self._upgrades = b"Upgrade: websocket" in self._unsent
        self._answer = b""
        self._began_more = False
        self._over_at = time.monotonic() + attacker.spec.hold_s
        if attack.reads:
            attacker.reactor.watch(sock, self._read)
        attacker.reactor.at(time.monotonic(), self._tick)

    def close(self) -> None:
        """Twice does no harm."""
        if self in self._attacker.live:
            self._attacker.live.discard(self)
            self._attacker.reactor.forget(self._socket)
            self._socket.close()

    def _closed_by_relay(self) -> None:
        self._attacker.result.closed += 1
        self.close()

    def _tick(self) -> float | None:
        """Send what is due; returns when to do so again."""
        now = time.monotonic()
        if self not in self._attacker.live:
            return None
        if now >= self._over_at:
            self.close()
            return None
        if not self._unsent and (not self._upgrades or HEAD_END in self._answer):
            self._unsent = self._more if self._began_more else self._first + self._more
            self._began_more = True
        block_bytes = len(self._unsent)
        self._send()
        if self not in self._attacker.live:
            return None
        if self._attack.floods and self._began_more:
            return min(now + self._attacker.flood_pause_s(block_bytes), self._over_at)
        return min(now + (SLOW_S if self._began_more else TICK_S), self._over_at)

    def _send(self) -> None:
        if not self._unsent:
            return
        try:
            sent = self._socket.send(self._unsent)
        except BlockingIOError:
            return
        except OSError:
            self._closed_by_relay()
            return
        self._unsent = self._unsent[sent:]
        self._attacker.result.sent_bytes += sent

    def _read(self) -> None:
        try:
            data = self._socket.recv(RECEIVE_BYTES)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        if not data:
            self._closed_by_relay()
            return
        if len(self._answer) < ANSWER_BYTES:
            began = not self._answer
            self._answer += data
            if began and (found := _STATUS.match(self._answer)):
                self._attacker.answers[found[1].decode()] += 1


def main() -> int:
    """Attack as the first argument says, and print what came of it."""
    spec = msgspec.json.decode(sys.argv[1], type=AttackSpec)
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    sys.stdout.write(msgspec.json.encode(Attacker(spec).run()).decode() + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
