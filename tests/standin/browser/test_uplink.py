"""The log numbers speech once, sends it once in order, and sends it again from where the relay wants it."""

from hypothesis import given
from hypothesis import strategies as st

from relay.standin.browser.uplink import HEADER, KEPT_MAX, UplinkLog


def sequences(messages: list[bytes]) -> list[int]:
    return [HEADER.unpack_from(message)[0] for message in messages]


def filled(count: int) -> UplinkLog:
    log = UplinkLog()
    for number in range(count):
        log.append(number * 20, b"pcm")
    return log


def test_a_message_has_its_number_its_time_and_turn_0_before_its_audio() -> None:
    log = UplinkLog()
    numbers = [log.append(0, b"first"), log.append(20, b"second")]

    assert numbers == [1, 2]
    assert log.take(9) == [HEADER.pack(1, 0, 0) + b"first", HEADER.pack(2, 20, 0) + b"second"]


@given(st.lists(st.integers(1, 5), max_size=30))
def test_each_message_is_sent_once_and_in_order(takes: list[int]) -> None:
    log, sent = filled(40), []
    for most in takes:
        taken = sequences(log.take(most))
        assert len(taken) <= most
        sent += taken

    assert sent == list(range(1, len(sent) + 1))
    assert log.waiting == (len(sent) < 40)


@given(st.integers(0, 40), st.integers(1, 41))
def test_it_goes_on_where_the_relay_wants_it(sent: int, wanted: int) -> None:
    log = filled(40)
    log.take(sent)
    log.resume_at(wanted)

    assert sequences(log.take(100)) == list(range(wanted, 41))


def test_what_has_arrived_is_forgotten() -> None:
    log = filled(40)
    log.resume_at(31)
    log.resume_at(1)

    assert sequences(log.take(100)) == list(range(31, 41))


def test_the_newest_ten_seconds_are_kept_while_nothing_is_sent() -> None:
    log = filled(KEPT_MAX + 10)

    assert KEPT_MAX * 0.02 == 10
    assert sequences(log.take(KEPT_MAX + 10)) == list(range(11, KEPT_MAX + 11))


def test_nothing_waits_in_an_empty_log() -> None:
    log = UplinkLog()

    assert not log.waiting
    assert log.take(5) == []
