"""A siege: a real relay with live calls, which is attacked; what that does to the calls and to the process.

The relay has a core of its own. The callers and their assistants (those of `relay bench`) share the other with the
attacker, which has the lowest priority: so what is late is late because of the relay. Where others use the machine,
`load_late_ms` and `others_cpu_percent` say so.
"""

import gc
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path

import msgspec

from relay.bench import websocket
from relay.bench.load import CATCH_UP_S, WARM_UP_S, LoadCalls
from relay.bench.machine import cores
from relay.bench.process import Snapshot, counted_between, cpu_s, rss_mb, scrape
from relay.bench.reactor import LoadLink, Reactor
from relay.bench.relay_process import PUBLIC_URL, RelayProcess, run_configured
from relay.bench.scores import SETTLE_S, SampleWindow, percentiles
from relay.net.rest import IDLE_CONNECTIONS
from tests.hostile.attacker import AttackResult, AttackSpec
from tests.hostile.attacks import BY_NAME
from tests.hostile.outside import ADMIN_TOKEN, busy_s, descriptors, live_calls
from tests.hostile.rounds import Rounds
from tests.hostile.watched import ask_rounds

CALLS = 6
TARGET_MS, LEAD_MS = 200, 100
"""The relay's playout buffer, and the part of it that is sent ahead: the defaults."""
BACK_S = 10.0
"""Within this time after an attack the process is as it was before."""
MEMORY_SLACK_MB = 8.0
"""What the allocator keeps beyond what it had already, and a log of what happened."""
SAMPLE_S = 0.1
LOWEST_PRIORITY = ("chrt", "--other", "0", "nice", "-n", "19")
"""Before a command: whatever priority the callers were given, it has the lowest."""
LOOKS = 10
CALLS_LOOK_S = 2.0
"""After an attack that makes calls it takes longer: a browser's session is remembered for 15 s after its end."""
ANSWER_S = 5.0
"""An attacker that has not come to its end so long after its time is killed."""

_CONFIG = """\
[server]
port = 0
public_url = "{public_url}"
drain_timeout_s = 0.0
[twilio]
token_ttl_s = 5.0
[reconnect]
reattach_grace_s = 1.0
[client]
resume_grace_s = 1.0
[vapi]
api_base = "http://127.0.0.1:{port}"
assistant_id = "hostile"
[limits]
max_calls = 30
[state]
url = "sqlite:{folder}/relay.db"
"""
_ADMIN = """\
[admin]
token_file = "{folder}/admin-token"
"""


class Outcome(msgspec.Struct):
    """What an attack did.

    added_ms: the 99th percentile of the delay of both directions, less the playout buffer. lost_frames: never came out.
    holes: times the assistant's audio broke off. lost_calls: sockets of live calls that are gone. peak_mb, left_mb: how
    much more memory the relay had, at most and in the end. back_s: after how long memory and descriptors were as
    before; None: not within BACK_S. again: the memory was not, and another wave shows whether something is held.
    left_descriptors, left_tasks: how many more there were then. load_late_ms: how late
    the callers themselves were, the 99th percentile while it lasted, and at most while holes were counted.
    others_cpu_percent: how much of the relay's core went to other processes. rounds: CPU time of the rounds of the
    relay's event loop. larger_buffer_ms: by how much the playout buffer of a call was larger than configured, before or
    after: the relay makes it so at a hole, and for a while all audio down is so much later, whatever happens then.
    """

    name: str
    way: str
    attack: AttackResult = msgspec.field(default_factory=AttackResult)
    added_ms: dict[str, float | None] = {}
    lost_frames: int = 0
    holes: int = 0
    lost_calls: int = 0
    answers: bool = True
    peak_mb: float = 0.0
    left_mb: float = 0.0
    back_s: float | None = 0.0
    again: bool = False
    left_descriptors: int = 0
    left_tasks: int = 0
    relay_cpu_percent: float = 0.0
    load_late_ms: dict[str, float | None] = {}
    others_cpu_percent: float = 0.0
    rounds: Rounds | None = None
    larger_buffer_ms: float = 0.0


@dataclass(frozen=True, slots=True)
class Standing:
    """How the relay's process stands. Tasks are those of its event loop. `buffer_ms` is how much of the assistant's
    audio is to wait, in the call where it is most."""

    rss_mb: float
    descriptors: int
    tasks: int
    metrics: Snapshot
    buffer_ms: float


@dataclass
class Siege:
    """One relay, and calls with it that go on through several attacks."""

    relay: RelayProcess
    calls: LoadCalls
    reactor: Reactor
    core: int | None
    """The relay's own; None: it has none."""
    inside: str
    """Where the relay tells what it does: see `watched`."""
    outcomes: list[tuple[Outcome, SampleWindow]] = field(default_factory=list)
    broken: bool = False
    """Calls were lost, or the relay is not as it was, or its buffers are not: the next attack needs another one."""

    def warm_up(self, spec: AttackSpec) -> None:
        """Carry the attack out unjudged, and wait until its connections are gone.

        The first seconds of a process, and its first connections, are slower than those that follow. And a first wave
        leaves what later ones find: see `attack`.
        """
        before = self._standing()
        self._carry_out(msgspec.structs.replace(spec, port=self.relay.port))
        self.reactor.run_until(time.monotonic() + BACK_S, lambda: descriptors(self.relay.pid) <= before.descriptors)
        self._standing_after(before)

    def rest(self, name: str, seconds: float) -> None:
        """Nothing happens for a while: what the attacks are compared with."""
        self._observe(Outcome(name, "no attack"), None, seconds)

    def attack(self, spec: AttackSpec, way: str) -> None:
        """Carry the attack out, and wait until the relay is as before.

        If its memory alone is not, carry it out again. When a wave of connections is gone, some of what they used stays
        with Python's allocator, in blocks of 1 MB of which each still holds something: 30 MB after 1,000 connections,
        where tracemalloc finds 1 MB. No way is known to give that back: malloc_trim gets 1 MB of it. The next wave uses
        it again. So a second wave adds to what is lost track of, and to nothing else.
        """
        spec = msgspec.structs.replace(spec, port=self.relay.port)
        outcome = Outcome(spec.name, way)
        self._observe(outcome, spec, spec.seconds)
        if outcome.left_mb > MEMORY_SLACK_MB and not _is_broken(outcome, memory=False):
            outcome.again = True
            outcome = Outcome(spec.name, f"{way}, again")
            self._observe(outcome, spec, spec.seconds)
        self.broken = _is_broken(outcome) or outcome.larger_buffer_ms > 0

    def end(self) -> list[Outcome]:
        """Hang up, and score what was heard: it is compared with what was said."""
        self.calls.hang_up()
        scores = self.calls.directions([window for _, window in self.outcomes], TARGET_MS, range(CALLS))
        for (outcome, _), (up, down) in zip(self.outcomes, scores, strict=True):
            delays = {"up": up.delay_ms, "down": [ms - (TARGET_MS - LEAD_MS) for ms in down.delay_ms]}
            outcome.added_ms = {name: percentiles(values, 99)["p99"] for name, values in delays.items()}
            outcome.lost_frames = up.lost + down.lost
        return [outcome for outcome, _ in self.outcomes]

    def _observe(self, outcome: Outcome, spec: AttackSpec | None, seconds: float) -> None:
        makes_calls = spec is not None and BY_NAME[spec.name].makes_calls
        self.reactor.late_s.clear()
        self.reactor.measuring = True
        try:
            before = self._standing()
        except OSError:
            outcome.answers = False
            self.outcomes.append((outcome, SampleWindow(time.monotonic(), time.monotonic())))
            return
        self._run(CATCH_UP_S)
        began = time.monotonic()
        cpu, busy = cpu_s(self.relay.pid), busy_s(self.core)
        ask_rounds(self.inside)
        peak = [before.rss_mb]
        self.reactor.at(began, lambda: self._sample(peak, began + seconds + ANSWER_S))
        if spec is None:
            self._run(seconds)
        else:
            outcome.attack = self._carry_out(spec)
        took_s = time.monotonic() - began
        outcome.rounds = ask_rounds(self.inside)
        used_s, busy_for_s = cpu_s(self.relay.pid) - cpu, busy_s(self.core) - busy
        outcome.relay_cpu_percent = round(used_s / took_s * 100, 1)
        outcome.others_cpu_percent = round(max(0.0, busy_for_s - used_s) / took_s * 100, 1)
        outcome.load_late_ms = percentiles([late_s * 1000 for late_s in self.reactor.late_s], 99)
        self._run(SETTLE_S)
        self.outcomes.append((outcome, SampleWindow(began, time.monotonic())))
        outcome.peak_mb = round(peak[0] - before.rss_mb, 1)
        self._judge(outcome, before, began + took_s, CALLS_LOOK_S if makes_calls else SAMPLE_S)
        self.reactor.measuring = False
        outcome.load_late_ms |= percentiles([late_s * 1000 for late_s in self.reactor.late_s], 100)

    def _judge(self, outcome: Outcome, before: Standing, ended_at: float, look_s: float) -> None:
        before = replace(before, descriptors=before.descriptors + kept_descriptors(outcome.name))
        back = self.reactor.run_until(ended_at + BACK_S, lambda: self._is_back(before))
        outcome.back_s = round(time.monotonic() - ended_at, 1) if back else None
        outcome.lost_calls = self.calls.lost
        try:
            after = self._standing_after(before, look_s)
        except OSError:
            outcome.answers = False
        else:
            outcome.left_mb = round(after.rss_mb - before.rss_mb, 1)
            outcome.left_descriptors = after.descriptors - before.descriptors + kept_descriptors(outcome.name)
            outcome.left_tasks = after.tasks - before.tasks
            outcome.larger_buffer_ms = max(0.0, before.buffer_ms - TARGET_MS, after.buffer_ms - TARGET_MS)
            outcome.holes = int(
                sum(counted_between(before.metrics, after.metrics, "relay_playout_holes_total").values())
            )

    def _is_back(self, before: Standing) -> bool:
        pid = self.relay.pid
        return rss_mb(pid) <= before.rss_mb + MEMORY_SLACK_MB and descriptors(pid) <= before.descriptors

    def _standing_after(self, before: Standing, look_s: float = SAMPLE_S) -> Standing:
        """Tasks and descriptors come and go, with our own look at the metrics too."""
        after = self._standing()
        for _ in range(max(LOOKS, round(BACK_S / look_s))):
            if after.tasks <= before.tasks and after.descriptors <= before.descriptors:
                break
            self._run(look_s)
            after = self._standing()
        return after

    def _standing(self) -> Standing:
        metrics = scrape(self.relay.port)
        tasks = int(metrics.counters["relay_tasks"][""])
        buffer_ms = max((call["target_ms"] for call in live_calls(self.relay.port)), default=TARGET_MS)
        return Standing(rss_mb(self.relay.pid), descriptors(self.relay.pid), tasks, metrics, buffer_ms)

    def _sample(self, peak: list[float], until: float) -> float | None:
        now = time.monotonic()
        peak[0] = max(peak[0], rss_mb(self.relay.pid))
        return now + SAMPLE_S if now < until and self.reactor.measuring else None

    def _carry_out(self, spec: AttackSpec) -> AttackResult:
        attacker = (sys.executable, "-m", "tests.hostile.attacker", msgspec.json.encode(spec).decode())
        with subprocess.Popen([*LOWEST_PRIORITY, *attacker], stdout=subprocess.PIPE) as process:
            if not self.reactor.run_until(
                time.monotonic() + spec.seconds + ANSWER_S, lambda: process.poll() is not None
            ):
                process.kill()
            out, _ = process.communicate()
        return msgspec.json.decode(out, type=AttackResult) if out else AttackResult()

    def _run(self, seconds: float) -> None:
        self.reactor.run_until(time.monotonic() + seconds)


def kept_descriptors(name: str) -> int:
    """How many more there may be after this attack. After calls connections to the assistant's API stay open for the
    next ones, and are closed when one of these finds them too old."""
    return IDLE_CONNECTIONS if name in BY_NAME and BY_NAME[name].makes_calls else 0


def _is_broken(outcome: Outcome, *, memory: bool = True) -> bool:
    """Whether the relay is not as it was before."""
    too_many_open = outcome.left_descriptors > kept_descriptors(outcome.name)
    lasts = bool(outcome.lost_calls) or outcome.left_tasks > 0 or too_many_open
    return not outcome.answers or lasts or (memory and outcome.back_s is None)


def configuration(assistant_port: int, folder: Path) -> str:
    """Of the relay: its defaults, but for what it needs to find the assistant and to keep its state in `folder`; and a
    call that nobody joins, or whose caller is lost, ends within seconds, so that the relay is soon as before. A number
    of calls, or a loop that an attack makes late would refuse the calls that are to be attacked; and no more than a
    core carries, of which half are for browsers, or attackers who are let in show what so many calls cost."""
    return _CONFIG.format(public_url=PUBLIC_URL, port=assistant_port, folder=folder)


def attach_mute(reactor: Reactor, sock: socket.socket, early: bytes) -> None:
    """Be the assistant of an attacker's call: it says nothing, and parts when it is told to."""

    def take(_opcode: int, payload: bytes) -> None:
        if b'"end-call"' in payload:
            link.send(b"\x03\xe8", websocket.CLOSE)

    link = LoadLink(sock, reactor, take, client=False)
    link.feed(early)


@contextmanager
def open_siege(*, tasks: bool = False) -> Iterator[Siege]:
    """A relay with its defaults, and CALLS live calls that talk. `tasks`: its tasks are measured. Raises BenchFailed,
    SetupFailed."""
    relay_core, load_core = cores()
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="relay-hostile-")))
        listener = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
        text = configuration(listener.getsockname()[1], folder) + _ADMIN.format(folder=folder)
        (folder / "admin-token").write_text(ADMIN_TOKEN)
        inside = str(folder / "inside")
        module = ("tests.hostile.watched", inside, *["--tasks"] * tasks)
        relay = stack.enter_context(run_configured(folder, text, relay_core, module))
        allowed = os.sched_getaffinity(0)
        stack.callback(os.sched_setaffinity, 0, allowed)
        if load_core is not None:
            os.sched_setaffinity(0, {load_core})
        reactor = Reactor()
        calls = LoadCalls(relay.port, listener, "pcm", reactor, partial(attach_mute, reactor))
        for number in range(CALLS):
            calls.place(number, sampled=True)
        gc.freeze()
        stack.callback(gc.unfreeze)
        reactor.run_until(time.monotonic() + WARM_UP_S)
        yield Siege(relay, calls, reactor, relay_core, inside)
