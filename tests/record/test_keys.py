"""Keys of recordings: what is one, and that none is ever shown."""

from base64 import b64encode

import pytest

from relay.record.keys import RecordKey, key_of, parse_key, parse_keys

OLD, NEW = bytes(range(32)), bytes(range(32, 64))


def text(secret: bytes) -> str:
    return b64encode(secret).decode()


def test_several_keys_stand_in_the_order_in_which_they_came_into_use() -> None:
    assert [key.secret for key in parse_keys(f"{text(OLD)},{text(NEW)}")] == [OLD, NEW]


@pytest.mark.parametrize(
    ("written", "why"),
    [
        ("", "has 0 bytes"),
        ("short", "is no Base64"),
        ("a passphrase", "is no Base64"),
        (text(OLD[:16]), "has 16 bytes"),
        (text(OLD + NEW), "has 64 bytes"),
        (OLD.hex(), "has 48 bytes"),
        (f"{text(OLD)},", "has 0 bytes"),
        (text(OLD).replace("=", ""), "is no Base64"),
    ],
)
def test_what_is_no_key_is_refused_and_not_shown(written: str, why: str) -> None:
    with pytest.raises(ValueError, match=why) as refused:
        parse_keys(written)

    assert not written or written not in str(refused.value)


def test_a_key_has_a_name_of_its_own_and_shows_nothing_of_itself() -> None:
    old, new = RecordKey(OLD), RecordKey(NEW)

    assert old.id != new.id
    assert parse_key(text(OLD)).id == old.id
    assert key_of(new.id, [old, new]) is new
    assert key_of(new.id, [old]) is None
    assert str(OLD)[2:10] not in f"{old} {old!r}"
    assert old.id not in OLD
