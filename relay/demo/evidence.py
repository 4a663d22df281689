"""What both sides of the call recorded, in one form: 8 kHz samples, and times in seconds since it was placed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile
from typing import Any

import numpy as np
import soxr

from relay.demo.child import Daemon
from relay.demo.compare import RATE_HZ, audible_frames
from relay.demo.story import Told
from relay.media.frames import TELEPHONE, AudioFormat
from relay.standin.assistant import AssistantCall
from relay.standin.assistant.record import Track
from relay.standin.phone import Phone
from relay.standin.phone.player import Player
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, decode, mulaw_to_samples

Record = Mapping[str, Any]
_BEFORE_S = 0.05
"""The assistant announces a turn a moment before its first byte; between turns it sends silence."""


def _nothing() -> Samples:
    return np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """Times are seconds since the call was placed; None or empty where the call did not get so far.

    greeting, old_turn, new_turn: what the assistant sent; old_turn is the one that was interrupted, and sent_late
        what it sent of that after the `clear`.
    heard_before, heard_after: what the caller's side played until the `clear`, and from then on.
    arrived_after: what reached it after the `clear`, heard or not.
    underruns: holes in what the caller heard: the sample behind each, and its length in ms.
    stood_still_ms: the longest time for which the machine let the stand-ins or the daemon do nothing.
    """

    broken: str | None
    onset_s: float | None = None
    clears_s: Sequence[float] = ()
    cleared_ms: float = 0.0
    greeting: Samples = field(default_factory=_nothing)
    old_turn: Samples = field(default_factory=_nothing)
    new_turn: Samples = field(default_factory=_nothing)
    sent_late: Samples = field(default_factory=_nothing)
    heard_before: Samples = field(default_factory=_nothing)
    heard_after: Samples = field(default_factory=_nothing)
    arrived_after: Samples = field(default_factory=_nothing)
    said: Samples = field(default_factory=_nothing)
    received: Samples = field(default_factory=_nothing)
    underruns: Sequence[tuple[int, float]] = ()
    warnings: Sequence[str] = ()
    phone_end: str | None = None
    assistant_end: str | None = None
    flushes: Sequence[Record] = ()
    ended: Record | None = None
    daemon_exit: int | None = None
    stood_still_ms: float = 0.0


def gather(told: Told, phone: Phone, call: AssistantCall | None, daemon: Daemon, stood_still_ms: float) -> Evidence:
    """Everything that is known when the call is over and the daemon has ended."""
    if call is None or not phone.players:
        return Evidence(broken="; ".join([told.broken or "no call", *phone.troubles]), daemon_exit=daemon.exit_status)
    player, origin_s = phone.players[0], phone.placed_s
    clear_s = player.clears[0].at_s if player.clears else None
    before, after = _heard(player, clear_s)
    greeting, old_turn, new_turn, sent_late = _sent(call, clear_s)
    form = call.record.format
    result = phone.result()
    return Evidence(
        broken=told.broken,
        onset_s=_onset_s(told, origin_s),
        clears_s=[clear.at_s - origin_s for clear in player.clears],
        cleared_ms=player.clears[0].cleared_ms if player.clears else 0.0,
        greeting=greeting,
        old_turn=old_turn,
        new_turn=new_turn,
        sent_late=sent_late,
        heard_before=before,
        heard_after=after,
        arrived_after=_nothing() if clear_s is None else _arrived_after_clear(player),
        said=mulaw_to_samples(phone.lips.said),
        received=_at_8_khz(_samples(call.received, form), form.rate_hz),
        underruns=[(int((gap.at_s - player.started_s) * RATE_HZ), gap.gap_ms) for gap in player.underruns],
        warnings=result.warnings,
        phone_end=phone.end,
        assistant_end=call.ended_reason,
        flushes=[record for record in daemon.records if record["event"] == "bargein.flushed"],
        ended=daemon.record("call.ended"),
        daemon_exit=daemon.exit_status,
        stood_still_ms=stood_still_ms,
    )


def energy_onset_ms(mulaw: bytes) -> float:
    """Where in a recording the first sound is, as a telephone carries it."""
    frames = audible_frames(mulaw_to_samples(mulaw))
    return frames[0] * 1000 / RATE_HZ if frames else 0.0


def _onset_s(told: Told, origin_s: float) -> float | None:
    stop = told.sayings.get("stop")
    if stop is None or stop.began_s is None:
        return None
    return stop.began_s - origin_s + energy_onset_ms(spoken("stop", TELEPHONE)) / 1000


def _heard(player: Player, clear_s: float | None) -> tuple[Samples, Samples]:
    heard = mulaw_to_samples(player.heard)
    cut = len(heard) if clear_s is None else int((clear_s - player.started_s) * RATE_HZ + 1e-6)
    return heard[:cut], heard[cut:]


def _arrived_after_clear(player: Player) -> Samples:
    before = sum(1 for _ in takewhile(lambda line: line.kind != "clear", player.log))
    return mulaw_to_samples(b"".join(line.audio for line in player.log[before:]))


def _sent(call: AssistantCall, clear_at_s: float | None) -> tuple[Samples, Samples, Samples, Samples]:
    """The assistant's three turns, and what it sent of the second after the `clear`."""
    starts_s = [
        event.at_s
        for event in call.record.sent_messages("speech-update")
        if event.message["role"] == "assistant" and event.message["status"] == "started"
    ]
    form, arrivals = call.record.format, call.sent.arrivals
    whole = _at_8_khz(_samples(call.sent, form), form.rate_hz)

    def sent_by(at_s: float) -> int:
        """The stream has no gaps: so many samples had left before this moment."""
        n_bytes = sum(n_bytes for sent_s, n_bytes in arrivals if sent_s < at_s)
        return round(form.duration_ms(n_bytes) * RATE_HZ / 1000)

    old, new, *_ = [*map(sent_by, starts_s[1:3]), len(whole), len(whole)]
    late = len(whole) if clear_at_s is None else sent_by(clear_at_s)
    return whole[:old], whole[old:new], whole[new:], whole[max(old, late) : new]


def _samples(track: Track, form: AudioFormat) -> Samples:
    return decode(bytes(track.audio[: len(track.audio) // form.block_bytes * form.block_bytes]), form)


def _at_8_khz(samples: Samples, rate_hz: int) -> Samples:
    if rate_hz == RATE_HZ or not len(samples):
        return samples
    loose = soxr.resample(samples.astype(np.float32), rate_hz, RATE_HZ)
    return np.asarray(np.clip(np.rint(loose), -32768, 32767), np.int16)
