"""The evidence is what both sides of the call recorded, in one form: 8 kHz samples, and seconds since it was placed."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import takewhile

import numpy as np
import soxr

from relay.demo.child import Daemon, Record
from relay.demo.story import AT_CUT, StoryRecord
from relay.media.comfort import comfort_frames
from relay.media.frames import TELEPHONE, AudioFormat
from relay.standin.assistant import AssistantCall
from relay.standin.assistant.record import Track
from relay.standin.compare import FRAME_SAMPLES, audible_frames
from relay.standin.phone import Phone
from relay.standin.phone.player import RATE_HZ, Player
from relay.standin.phrases import spoken
from relay.standin.sound import Samples, decode, mulaw_to_samples

_TAIL_SAMPLES = 10 * FRAME_SAMPLES
"""What is still sent of a sentence after its last frame was taken up; between sentences there is silence."""


def _nothing() -> Samples:
    return np.zeros(0, np.int16)


@dataclass(frozen=True, slots=True, eq=False, kw_only=True)
class Evidence:
    """What a call can be judged by. Times are seconds since it was placed; None or empty where it did not get so far.

    broken: what did not happen, if the story was cut short.
    onset_s: when the first sound of the interruption was said; clears_s: when the telephone was told to `clear`, and
        cleared_ms: how much audio the first `clear` took away.
    greeting, old_turn: what the assistant sent until it was lost; old_turn is the one that was interrupted, and
        sent_late what it sent of that after the `clear`. new_turn: what its second call sent.
    said, said_at_cut, said_later: what the caller said before the sentence during which the assistant was lost, that
        sentence, and what came after it; received, received_again: what the first and the second call received.
    comfort: the sound that the relay plays while the assistant is away.
    reconnects: the daemon's lines about them.
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
    said_at_cut: Samples = field(default_factory=_nothing)
    said_later: Samples = field(default_factory=_nothing)
    received: Samples = field(default_factory=_nothing)
    received_again: Samples = field(default_factory=_nothing)
    comfort: Samples = field(default_factory=_nothing)
    underruns: Sequence[tuple[int, float]] = ()
    warnings: Sequence[str] = ()
    phone_end: str | None = None
    assistant_end: str | None = None
    flushes: Sequence[Record] = ()
    reconnects: Sequence[Record] = ()
    ended: Record | None = None
    daemon_exit: int | None = None
    stood_still_ms: float = 0.0


def gather(
    story: StoryRecord, phone: Phone, calls: Sequence[AssistantCall], daemon: Daemon, stood_still_ms: float
) -> Evidence:
    """Gather everything that is known when the call is over and the daemon has ended."""
    if not calls or not phone.players:
        return Evidence(broken="; ".join([story.broken or "no call", *phone.troubles]), daemon_exit=daemon.exit_status)
    call, player, origin_s = calls[0], phone.players[0], phone.placed_s
    clear_s = player.clears[0].at_s if player.clears else None
    before, after = _heard(player, clear_s)
    greeting, old_turn, sent_late = _sent(call, clear_s)
    said, said_at_cut, said_later = _said(story, phone)
    return Evidence(
        broken=story.broken,
        onset_s=_onset_s(story, origin_s),
        clears_s=[clear.at_s - origin_s for clear in player.clears],
        cleared_ms=player.clears[0].cleared_ms if player.clears else 0.0,
        greeting=greeting,
        old_turn=old_turn,
        new_turn=_sent_in_all(calls[1]) if len(calls) > 1 else _nothing(),
        sent_late=sent_late,
        heard_before=before,
        heard_after=after,
        arrived_after=_nothing() if clear_s is None else _arrived_after_clear(player),
        said=said,
        said_at_cut=said_at_cut,
        said_later=said_later,
        received=_received(call),
        received_again=_received(calls[1]) if len(calls) > 1 else _nothing(),
        comfort=mulaw_to_samples(b"".join(comfort_frames(TELEPHONE) * 2)),
        underruns=[(int((gap.at_s - player.started_s) * RATE_HZ), gap.gap_ms) for gap in player.underruns],
        warnings=phone.result().warnings,
        phone_end=phone.end,
        assistant_end=calls[-1].ended_reason,
        flushes=[record for record in daemon.records if record["event"] == "bargein.flushed"],
        reconnects=[record for record in daemon.records if record["event"] == "assistant.reconnected"],
        ended=daemon.record("call.ended"),
        daemon_exit=daemon.exit_status,
        stood_still_ms=stood_still_ms,
    )


def energy_onset_ms(mulaw: bytes) -> float:
    """Where in a recording (mu-law, 8 kHz) the first audible frame begins; 0 when there is none."""
    frames = audible_frames(mulaw_to_samples(mulaw))
    return frames[0] * 1000 / RATE_HZ if frames else 0.0


def _onset_s(story: StoryRecord, origin_s: float) -> float | None:
    stop = story.sayings.get("stop")
    if stop is None or stop.began_s is None:
        return None
    return stop.began_s - origin_s + energy_onset_ms(spoken("stop", TELEPHONE)) / 1000


def _heard(player: Player, clear_s: float | None) -> tuple[Samples, Samples]:
    """What the caller heard before and after the `clear`."""
    heard = mulaw_to_samples(player.heard)
    cut = len(heard) if clear_s is None else int((clear_s - player.started_s) * RATE_HZ + 1e-6)
    return heard[:cut], heard[cut:]


def _arrived_after_clear(player: Player) -> Samples:
    """All audio of messages after the first `clear`, whether it was played or not."""
    before = sum(1 for _ in takewhile(lambda line: line.kind != "clear", player.log))
    return mulaw_to_samples(b"".join(line.audio for line in player.log[before:]))


def _said(story: StoryRecord, phone: Phone) -> tuple[Samples, Samples, Samples]:
    """What the caller said before, during and after the sentence in which the assistant's socket was cut."""
    samples, sentence = mulaw_to_samples(phone.lips.said), story.sayings.get(AT_CUT)
    if sentence is None or sentence.began_s is None or sentence.ended_s is None:
        return samples, _nothing(), _nothing()
    first, last = (round((at_s - phone.placed_s) * RATE_HZ) for at_s in (sentence.began_s, sentence.ended_s))
    first, last = max(0, first - FRAME_SAMPLES), last + _TAIL_SAMPLES
    return samples[:first], samples[first:last], samples[last:]


def _sent(call: AssistantCall, clear_at_s: float | None) -> tuple[Samples, Samples, Samples]:
    """The first two turns of the assistant, and what it sent of the second after the `clear`."""
    starts_s = [
        event.at_s
        for event in call.record.sent_messages("speech-update")
        if event.message["role"] == "assistant" and event.message["status"] == "started"
    ]
    form, arrivals, whole = call.record.format, call.sent.arrivals, _sent_in_all(call)

    def sent_by(at_s: float) -> int:
        """The stream has no gaps: so many samples had left before this moment."""
        n_bytes = sum(n_bytes for sent_s, n_bytes in arrivals if sent_s < at_s)
        return round(form.duration_ms(n_bytes) * RATE_HZ / 1000)

    old = sent_by(starts_s[1]) if len(starts_s) > 1 else len(whole)
    late = len(whole) if clear_at_s is None else sent_by(clear_at_s)
    return whole[:old], whole[old:], whole[max(old, late) :]


def _sent_in_all(call: AssistantCall) -> Samples:
    return _at_8_khz(_samples(call.sent, call.record.format), call.record.format.rate_hz)


def _received(call: AssistantCall) -> Samples:
    return _at_8_khz(_samples(call.received, call.record.format), call.record.format.rate_hz)


def _samples(track: Track, form: AudioFormat) -> Samples:
    return decode(bytes(track.audio[: len(track.audio) // form.block_bytes * form.block_bytes]), form)


def _at_8_khz(samples: Samples, rate_hz: int) -> Samples:
    if rate_hz == RATE_HZ or not len(samples):
        return samples
    loose = soxr.resample(samples.astype(np.float32), rate_hz, RATE_HZ)
    return np.asarray(np.clip(np.rint(loose), -32768, 32767), np.int16)
