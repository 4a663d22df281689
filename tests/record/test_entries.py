"""What an entry promises to files that other versions of the program have written."""

import msgspec

from relay.record.entries import MarkSent, Recorded, SpeechScore, ToCaller, Woke


def test_an_entry_with_fields_of_a_later_version_is_read_without_them() -> None:
    later = msgspec.msgpack.encode([3, 1.5, 2, 400, "of a later version"])

    assert msgspec.msgpack.decode(later, type=MarkSent) == MarkSent(1.5, 2, 400)


def test_every_kind_of_entry_is_told_by_its_number() -> None:
    numbers = [kind.__struct_config__.tag for kind in Recorded.__args__]

    assert sorted(numbers) == list(range(33))


def test_an_entry_takes_few_bytes_beside_its_audio() -> None:
    """Several hundred are written in a second of a call."""
    assert len(msgspec.msgpack.encode(ToCaller(1234.5, 3, 123456, audible=True, queued_ms=200, data=bytes(160)))) < 186
    assert len(msgspec.msgpack.encode(SpeechScore(1.5, 32.0, 0.5, 1.5))) < 40
    assert len(msgspec.msgpack.encode(Woke(1234.5, "speaker"))) < 21
