from pathlib import Path
from typing import Annotated, Literal

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Meta

from relay.errors import ConfigError
from relay.toml_table import check_keys, parse_toml, problem, read_table


class Table(msgspec.Struct, frozen=True):
    port: Annotated[int, Meta(ge=1, le=9)] = 5
    share: Annotated[float, Meta(ge=0.25, le=0.75)] = 0.5
    on: bool = True
    text: str = ""
    name: Annotated[str, Meta(min_length=1)] = "x"
    code: Annotated[str, Meta(pattern="^A+$")] = "A"
    kind: Literal["a", "b"] = "a"
    rate: Literal[8, 16] | None = None
    codes: tuple[Annotated[str, Meta(pattern="^A+$")], ...] = ()
    key_file: str = ""


class Required(msgspec.Struct, frozen=True):
    name: str


def test_a_table_without_keys_has_the_defaults() -> None:
    assert read_table("f", "t", {}, Table) == Table()


def test_values_are_taken() -> None:
    raw = {"port": 9, "share": 0.25, "on": False, "kind": "b", "rate": 16, "codes": ["A", "AA"]}

    assert read_table("f", "t", raw, Table) == Table(port=9, share=0.25, on=False, kind="b", rate=16, codes=("A", "AA"))


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("port", 0, "f: t.port = 0 is not allowed: a whole number from 1 to 9"),
        ("port", 10, "f: t.port = 10 is not allowed: a whole number from 1 to 9"),
        ("port", 1.5, "f: t.port = 1.5 is not allowed: a whole number from 1 to 9"),
        ("port", True, "f: t.port = true is not allowed: a whole number from 1 to 9"),
        ("port", "5", 'f: t.port = "5" is not allowed: a whole number from 1 to 9'),
        ("share", 0.8, "f: t.share = 0.8 is not allowed: a number from 0.25 to 0.75"),
        ("share", float("nan"), "f: t.share = NaN is not allowed: a number from 0.25 to 0.75"),
        ("share", float("inf"), "f: t.share = Infinity is not allowed: a number from 0.25 to 0.75"),
        ("on", "yes", 'f: t.on = "yes" is not allowed: true or false'),
        ("on", 1, "f: t.on = 1 is not allowed: true or false"),
        ("text", 5, "f: t.text = 5 is not allowed: text"),
        ("name", "", 'f: t.name = "" is not allowed: text that is not empty'),
        ("code", "B", 'f: t.code = "B" is not allowed: text of the form ^A+$'),
        ("kind", "c", 'f: t.kind = "c" is not allowed: one of "a", "b"'),
        ("rate", 9, "f: t.rate = 9 is not allowed: one of 8, 16"),
        ("codes", ["A", "B"], 'f: t.codes = ["A", "B"] is not allowed: a list of text of the form ^A+$'),
        ("codes", "A", 'f: t.codes = "A" is not allowed: a list of text of the form ^A+$'),
    ],
)
def test_a_wrong_value_is_named_with_file_key_value_and_what_is_allowed(key: str, value: object, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read_table("f", "t", {key: value}, Table)

    assert str(caught.value) == message


def test_a_required_key_that_is_missing_is_named() -> None:
    with pytest.raises(ConfigError, match=r"f: t\.name is missing: text"):
        read_table("f", "t", {}, Required)


def test_something_else_where_a_table_belongs_is_refused() -> None:
    with pytest.raises(ConfigError, match="f: t = 5 is not allowed: it must be a table"):
        read_table("f", "t", 5, Table)


@pytest.mark.parametrize(
    ("where", "key", "message"),
    [
        ("t", "prot", 'f: [t] has an unknown key "prot"; did you mean "port"?'),
        ("", "prot", 'f: has an unknown table or key "prot"; did you mean "port"?'),
        ("t", "zzzz", 'f: [t] has an unknown key "zzzz"; allowed: port, host'),
    ],
)
def test_an_unknown_key_is_named_with_the_nearest_known_one(where: str, key: str, message: str) -> None:
    with pytest.raises(ConfigError) as caught:
        check_keys("f", where, {key: "the value may be a misplaced secret"}, ("port", "host"))

    assert str(caught.value) == message


def test_a_value_of_a_file_key_is_not_shown_because_it_may_be_the_secret_itself() -> None:
    with pytest.raises(ConfigError) as caught:
        read_table("f", "t", {"key_file": ["s3cret"]}, Table)

    assert "s3cret" not in str(caught.value)


def test_a_password_in_an_address_is_not_shown_and_a_long_value_is_cut() -> None:
    assert "s3cret" not in str(problem("f", "k", "redis://user:s3cret@host/0", "x"))
    assert len(str(problem("f", "k", "x" * 1000, "y"))) < 200


@given(st.dictionaries(st.text(), st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists)))
def test_any_table_is_read_or_refused_in_one_line(raw: dict[str, object]) -> None:
    message = ""
    try:
        read_table("f", "t", raw, Table)
    except ConfigError as error:
        message = str(error)

    assert message.isprintable()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"a = 1\nb = \n", "is not TOML: .*line 2"),
        (b"a = 1\na = 2\n", "is not TOML: .*line 2"),
        (b"a = 1\nb = '\xff'\n", "line 2 is not UTF-8 text"),
        (b"a = " + b"[" * 100_000, "is not TOML: nested too deeply"),
        (b"a = " + b"9" * 10_000, "is not TOML: "),
    ],
    ids=["syntax", "duplicate", "encoding", "depth", "digits"],
)
def test_a_file_that_is_not_toml_is_refused_with_its_line(tmp_path: Path, content: bytes, message: str) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(content)

    with pytest.raises(ConfigError, match=message) as caught:
        parse_toml(path)
    assert str(caught.value).startswith(f"{path}: ")
    assert str(caught.value).isprintable()


def test_a_file_that_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"none\.toml: cannot be read: No such file"):
        parse_toml(tmp_path / "none.toml")
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        parse_toml(tmp_path)


def test_a_byte_order_mark_is_no_error(tmp_path: Path) -> None:
    path = tmp_path / "c.toml"
    path.write_bytes(b"\xef\xbb\xbfa = 1\n")

    assert parse_toml(path) == {"a": 1}
