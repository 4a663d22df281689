"""The stage is where the story is played: assistant, daemon and telephone are opened, and watched while it goes on."""

import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx
import trio

from relay.demo.child import Daemon, Record, open_daemon
from relay.demo.evidence import Evidence, gather
from relay.demo.journal import Journal, JournalLine
from relay.demo.scene import DemoScene
from relay.demo.screen import Screen
from relay.demo.settings import PUBLIC_URL, Credentials, config_toml
from relay.demo.story import LISTEN_S, ScriptedCaller, StoryBroken, StoryRecord, assistant_behaviour
from relay.demo.watcher import Watcher
from relay.media.frames import FRAME_MS
from relay.record.folder import SUFFIX
from relay.standin.assistant import Assistant, open_assistant
from relay.standin.phone import Phone, PhoneEvent, PhoneOptions, open_phone

STORY_MAX_S = 90.0
_BUFFER_EVERY_S = 0.1
_ENDED_S = 5.0


@dataclass(slots=True, kw_only=True)
class Performance:
    """What is left when it is over. `log` is the daemon's, `lines` the journal; `phone` is None without a daemon, and
    `recording`, the file of the daemon's own, without a call."""

    evidence: Evidence
    log: list[str]
    lines: list[JournalLine] = field(default_factory=list)
    phone: Phone | None = None
    recording: bytes | None = None


async def perform(screen: Screen, folder: Path, listen_s: float = LISTEN_S) -> Performance:
    """Play the whole story; the daemon's configuration and its recording of the call are written to `folder`.

    What goes wrong is told in the evidence. Cancelled, it leaves no process behind.
    """
    credentials = Credentials()
    async with open_assistant(key=credentials.vapi_key, behaviour=assistant_behaviour()) as assistant:
        config_file = folder / "config.toml"
        config_file.write_text(config_toml(assistant.base_url, folder / "calls"), encoding="utf-8")
        stage = Stage(screen, assistant, credentials, listen_s)
        async with open_daemon(config_file, credentials.environ(), stage.log_line) as daemon:
            if daemon.is_ready:
                await stage.play(daemon)
        if daemon.is_ready:
            return stage.result(daemon, _recording(folder / "calls"))
        return Performance(evidence=Evidence(broken=f"the daemon did not start: {daemon.last_words}"), log=daemon.log)


@dataclass(slots=True)
class Stage:
    """One performance, once the assistant runs."""

    screen: Screen
    assistant: Assistant
    credentials: Credentials
    listen_s: float
    story: StoryRecord = field(default_factory=StoryRecord)
    watcher: Watcher | None = None

    def log_line(self, record: Record) -> None:
        """An event of the daemon's log; nobody watches before the call is placed."""
        if self.watcher is not None:
            self.watcher.log_line(record)

    def _phone_event(self, happened: PhoneEvent) -> None:
        if self.watcher is not None:
            self.watcher.phone_event(happened)

    async def play(self, daemon: Daemon) -> None:
        """Play one call, from the ringing to the daemon's last line about it."""
        token = self.credentials.auth_token
        options = PhoneOptions(auth_token=token, public_url=PUBLIC_URL, on_event=self._phone_event)
        async with trio.open_nursery() as nursery:
            async with open_phone(daemon.url, options) as phone:
                self.watcher = watcher = Watcher(
                    screen=self.screen,
                    story=self.story,
                    phone=phone,
                    assistant=self.assistant,
                    journal=Journal(phone.placed_s),
                    clock_offset_s=trio.current_time() - time.time(),
                    daemon_pid=daemon.process.pid,
                )
                nursery.start_soon(watcher.run)
                nursery.start_soon(_watch_buffer, daemon.url, watcher.scene)
                await self._tell(ScriptedCaller(phone, self.story, self.assistant, self.listen_s))
            await daemon.wait_record("call.ended", _ENDED_S)
            nursery.cancel_scope.cancel()
        watcher.finish()

    async def _tell(self, caller: ScriptedCaller) -> None:
        try:
            with trio.fail_after(STORY_MAX_S):
                await caller.play()
        except StoryBroken as broken:
            self.story.broken = str(broken)
        except trio.TooSlowError:
            self.story.broken = f"the call did not end within {STORY_MAX_S:g} s"

    def result(self, daemon: Daemon, recording: bytes | None) -> Performance:
        """What is left, once the daemon has ended."""
        assert self.watcher is not None
        phone, calls = self.watcher.phone, list(self.assistant.calls.values())
        evidence = gather(self.story, phone, calls, daemon, self.watcher.stood_still_ms)
        lines = self.watcher.journal.lines()
        return Performance(evidence=evidence, log=daemon.log, lines=lines, phone=phone, recording=recording)


def _recording(folder: Path) -> bytes | None:
    """The only one in this folder."""
    return next((path.read_bytes() for path in folder.glob(f"*{SUFFIX}")), None)


async def _watch_buffer(url: str, scene: DemoScene) -> None:
    """What the relay itself says about its buffer."""
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            try:
                health = (await client.get(f"{url}/health", timeout=1.0)).json()
                scene.buffer_ms = float(health["bufferSize"]) * FRAME_MS
            except (httpx.HTTPError, ValueError, KeyError):
                scene.buffer_ms = 0.0
            await trio.sleep(_BUFFER_EVERY_S)
