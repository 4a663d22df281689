"""The caller's audio for the assistant and for the detector at once."""

import numpy as np
import pytest
from numpy.typing import NDArray

from relay.media import g711
from relay.media.echo_control import EchoFound
from relay.media.frames import TELEPHONE, WIDEBAND, Audio, AudioFormat, Encoding
from relay.media.transcode import Transcoder
from relay.media.uplink import Uplink
from relay.standin.echo import EchoPath
from relay.standin.phrases import phrase

SPEECH = np.random.default_rng(7).integers(0, 256, 160 * 50, dtype=np.uint8).tobytes()


def push_all(uplink: Uplink) -> tuple[bytes, bytes]:
    pairs = [uplink.push(Audio(TELEPHONE, SPEECH[i : i + 160])) for i in range(0, len(SPEECH), 160)]
    return b"".join(data for data, _ in pairs), b"".join(samples.tobytes() for _, samples in pairs)


def test_equal_formats_pass_untouched() -> None:
    """The assistant that takes mu-law gets the caller's own bytes; only the detector's copy is decoded."""
    for_assistant, for_detector = push_all(Uplink(TELEPHONE, TELEPHONE, 16000))

    assert for_assistant == SPEECH
    assert len(for_detector) == 4 * len(SPEECH)


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [WIDEBAND, AudioFormat(Encoding.PCM_S16LE, 24000)])
def test_the_assistant_gets_what_a_transcoder_alone_would_make(target: AudioFormat, detector_rate_hz: int) -> None:
    """Whatever the detector takes, and whether or not the work is shared."""
    for_assistant, for_detector = push_all(Uplink(TELEPHONE, target, detector_rate_hz))

    alone = Transcoder(TELEPHONE, target)
    assert for_assistant == b"".join(
        alone.push(Audio(TELEPHONE, SPEECH[i : i + 160])).data for i in range(0, len(SPEECH), 160)
    )
    assert len(for_detector) == len(SPEECH) * 2 * detector_rate_hz // 8000


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
def test_noise_reduction_cleans_both_and_keeps_their_length(target: AudioFormat, detector_rate_hz: int) -> None:
    """Steady noise is weaker in what the assistant gets and in what the detector gets."""
    noise = g711.encode(np.random.default_rng(2).normal(0, 500, 160 * 200).astype(np.int16))
    uplinks = [Uplink(TELEPHONE, target, detector_rate_hz, reduce_noise=on) for on in (False, True)]
    frames = [Audio(TELEPHONE, noise[at : at + 160]) for at in range(0, len(noise), 160)]
    plain, cleaned = ([uplink.push(frame) for frame in frames] for uplink in uplinks)

    assert [tuple(map(len, pair)) for pair in cleaned] == [tuple(map(len, pair)) for pair in plain]
    (data, samples), (clean_data, clean_samples) = plain[-1], cleaned[-1]
    assert power(samples_of(Audio(target, clean_data))) < 0.6 * power(samples_of(Audio(target, data)))
    assert power(clean_samples) < 0.6 * power(samples)


@pytest.mark.parametrize(("target", "delay_ms"), [(TELEPHONE, 9.5), (WIDEBAND, 7.75)])
def test_noise_reduction_delays_by_what_is_stated(target: AudioFormat, delay_ms: float) -> None:
    click = np.zeros(160 * 20, np.int16)
    click[1600] = 20000
    for_assistant, _ = Uplink(TELEPHONE, target, 16000, reduce_noise=True).push(Audio(TELEPHONE, g711.encode(click)))

    heard = samples_of(Audio(target, for_assistant))
    assert int(np.argmax(np.abs(heard))) * 1000 / target.rate_hz == pytest.approx(200 + delay_ms, abs=0.1)


def power(samples: NDArray[np.int16]) -> float:
    return float(np.mean(samples.astype(float) ** 2))


def samples_of(audio: Audio) -> NDArray[np.int16]:
    pcm = AudioFormat(Encoding.PCM_S16LE, audio.format.rate_hz)
    return np.frombuffer(Transcoder(audio.format, pcm).push(audio).data, np.int16)


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
@pytest.mark.parametrize("reduce_noise", [False, True])
def test_looking_for_an_echo_changes_nothing_where_none_is(
    target: AudioFormat, detector_rate_hz: int, *, reduce_noise: bool
) -> None:
    """The assistant talks all the time, and the caller from 1.2 s on."""
    far = g711.encode(np.random.default_rng(5).normal(0, 3000, 160 * 100).astype(np.int16))
    near = g711.encode(np.zeros(160 * 60, np.int16)) + SPEECH[: 160 * 40]
    plain, looking = (
        Uplink(TELEPHONE, target, detector_rate_hz, reduce_noise=reduce_noise, echo=echo) for echo in ("off", "auto")
    )

    for at in range(0, len(near), 160):
        audio, played = Audio(TELEPHONE, near[at : at + 160]), Audio(TELEPHONE, far[at : at + 160])
        (given, heard), (other_given, other_heard) = plain.push(audio), looking.push(audio, played)
        assert given == other_given
        assert heard.tobytes() == other_heard.tobytes()


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
def test_an_echo_is_taken_out_for_both(target: AudioFormat, detector_rate_hz: int) -> None:
    """Of noise that comes back at once, 12 dB weaker."""
    far = np.random.default_rng(5).normal(0, 3000, 160 * 300).astype(np.int16)
    uplinks = [Uplink(TELEPHONE, target, detector_rate_hz, echo=echo) for echo in ("off", "auto")]
    pairs = []
    for at in range(0, len(far), 160):
        near, played = (Audio(TELEPHONE, g711.encode((far[at : at + 160] / loss).astype(np.int16))) for loss in (4, 1))
        pairs.append([uplink.push(near, played) for uplink in uplinks])
    (data, samples), (clean_data, clean_samples) = pairs[-1]

    assert (len(data), len(samples)) == (len(clean_data), len(clean_samples))
    assert power(samples_of(Audio(target, clean_data))) < 0.01 * power(samples_of(Audio(target, data)))
    assert power(clean_samples) < 0.01 * power(samples)
    assert uplinks[1].echo_delay_ms == 8


@pytest.mark.parametrize(("target", "delay_ms"), [(TELEPHONE, 11.5), (WIDEBAND, 9.75)])
def test_the_canceller_delays_by_what_is_stated(target: AudioFormat, delay_ms: float) -> None:
    click = np.zeros(160 * 20, np.int16)
    click[1600] = 20000
    for_assistant, _ = Uplink(TELEPHONE, target, 16000, echo="on").push(Audio(TELEPHONE, g711.encode(click)))

    heard = samples_of(Audio(target, for_assistant))
    assert int(np.argmax(np.abs(heard))) * 1000 / target.rate_hz == pytest.approx(200 + delay_ms, abs=0.1)


def found(target: AudioFormat, *, reduce_noise: bool) -> Uplink:
    """One that has found an echo."""
    uplink = Uplink(TELEPHONE, target, 16000, reduce_noise=reduce_noise, echo="auto")
    noise = g711.encode(np.random.default_rng(5).normal(0, 3000, 160 * 100).astype(np.int16))
    for at in range(0, len(noise), 160):
        uplink.push(*[Audio(TELEPHONE, noise[at : at + 160])] * 2)
    assert uplink.echo_delay_ms > 0
    return uplink


@pytest.mark.parametrize("reduce_noise", [False, True])
@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
def test_a_loss_costs_nothing_of_what_came_in_messages_of_any_length(
    target: AudioFormat, *, reduce_noise: bool
) -> None:
    """As much comes out as came in, but for what waits for the rest of 10 ms, and 8 ms that follow later."""
    waiting = 160 if reduce_noise else 80  # both work in blocks
    uplink, given, heard, came = found(target, reduce_noise=reduce_noise), 0, 0, 0
    for number, size in enumerate([100, 60, 33, 160, 47, 240, 111, 80] * 8):
        audio = Audio(TELEPHONE, SPEECH[:size])
        is_lost = number % 3 == 1
        data, samples = uplink.lost(audio) if is_lost else uplink.push(audio)
        came += 0 if is_lost else size
        given += len(data) // (1 if target == TELEPHONE else 4)
        heard += len(samples) // 2
        assert -64 <= came - heard <= waiting
        assert -64 <= came - given <= waiting


def test_the_end_of_a_stream_gives_what_waited() -> None:
    uplink = found(WIDEBAND, reduce_noise=False)
    before = len(uplink.push(Audio(TELEPHONE, SPEECH[:150]))[1])

    data, samples = uplink.new_stream()

    assert before + len(samples) == 300
    assert len(data) == 2 * len(samples)


def test_a_word_before_a_loss_is_heard_to_its_end() -> None:
    """All that is lost is silence in its place, not the last 8 ms before it."""
    uplink = found(WIDEBAND, reduce_noise=False)
    click = np.zeros(160, np.int16)
    click[-4] = 20000
    quiet = g711.encode(np.zeros(160, np.int16))
    pieces = [uplink.push(Audio(TELEPHONE, quiet))[1] for _ in range(20)]
    pieces.append(uplink.push(Audio(TELEPHONE, g711.encode(click)))[1])
    pieces.append(uplink.lost(Audio(TELEPHONE, quiet))[1])
    pieces.append(uplink.push(Audio(TELEPHONE, quiet))[1])

    assert np.abs(np.concatenate(pieces)[20 * 320 :]).max() > 800


def test_a_new_stream_has_another_line() -> None:
    uplink = Uplink(TELEPHONE, TELEPHONE, 16000, echo="auto")
    far = g711.encode(np.random.default_rng(5).normal(0, 3000, 160 * 100).astype(np.int16))
    for at in range(0, len(far), 160):
        uplink.push(Audio(TELEPHONE, far[at : at + 160]), Audio(TELEPHONE, far[at : at + 160]))
    was_on = uplink.echo_delay_ms > 0
    uplink.new_stream()

    assert was_on
    assert uplink.push(Audio(TELEPHONE, SPEECH[:160]))[0] == SPEECH[:160]


@pytest.mark.parametrize("detector_rate_hz", [8000, 16000])
@pytest.mark.parametrize("target", [TELEPHONE, WIDEBAND])
def test_an_echo_that_begins_late_is_found_and_until_then_every_byte_is_the_callers(
    target: AudioFormat, detector_rate_hz: int
) -> None:
    """Long after the line was taken for clean, when it is looked at only where speech is heard. No sample is lost."""
    talk = phrase("description").in_format(TELEPHONE)[: 160 * 700]
    far = g711.decode(talk)
    echo = EchoPath(8000, delay_ms=180, loss_db=15).push(far)
    echo[: 160 * 400] = 0
    said = g711.decode((phrase("question").in_format(TELEPHONE) * 9)[: 160 * 400])
    echo[: len(said)] += said
    near = g711.encode(echo)
    plain, looking = (Uplink(TELEPHONE, target, detector_rate_hz, echo=mode) for mode in ("off", "auto"))
    found_at = None
    for at in range(0, len(near), 160):
        audio, played = Audio(TELEPHONE, near[at : at + 160]), Audio(TELEPHONE, talk[at : at + 160])
        (data, samples), (other_data, other_samples) = plain.push(audio), looking.push(audio, played)
        if at == 160 * 415:
            looking.look_for_echo()
        assert (len(data), len(samples)) == (len(other_data), len(other_samples))
        if isinstance(looking.news, EchoFound):
            found_at = at // 160
            assert looking.news.delay_ms == pytest.approx(180, abs=5)
        if found_at is None and at > 160 * 120:
            assert (data, samples.tobytes()) == (other_data, other_samples.tobytes())

    assert found_at is not None
    assert 400 < found_at < 400 + 100
