"""The exceptions of the relay: one family, a code each, and what they carry."""

import ast
from pathlib import Path

import pytest

from relay import errors
from relay.errors import (
    AssistantUnavailable,
    AuthRejected,
    CallRefused,
    CannotReplay,
    ConfigError,
    FormatMismatch,
    HangUpFailed,
    LegClosed,
    LegLost,
    LocalProtocolError,
    MessageUnsupported,
    NotARecording,
    ProtocolError,
    RecordingBroken,
    RecordTaken,
    RelayError,
    RemoteProtocolError,
    RequestRefused,
    SessionElsewhere,
    StartFailed,
    StartUnusable,
    StateUnavailable,
)

BASES = [RelayError, ProtocolError]
WITH_ONE_CODE: list[type[RelayError]] = [
    ConfigError,
    StartFailed,
    FormatMismatch,
    HangUpFailed,
    RecordingBroken,
    NotARecording,
    CannotReplay,
    LocalProtocolError,
    LegLost,
    LegClosed,
    CallRefused,
    AuthRejected,
    StateUnavailable,
    RecordTaken,
    SessionElsewhere,
]
WITH_A_CODE_FOR_EACH_CASE = [
    RemoteProtocolError("what", "CASE"),
    MessageUnsupported("what", "CASE"),
    StartUnusable("what", "CASE"),
    AssistantUnavailable("what", "CASE", retriable=True),
    RequestRefused(404, "CASE", "what"),
]


def test_all_are_relay_errors_so_that_one_except_catches_them() -> None:
    family = {kind for kind in vars(errors).values() if isinstance(kind, type)}

    assert family == {*BASES, *WITH_ONE_CODE, *map(type, WITH_A_CODE_FOR_EACH_CASE)}
    assert all(issubclass(kind, RelayError) for kind in family)


def test_a_code_names_one_kind_only() -> None:
    codes = [kind.code for kind in WITH_ONE_CODE]

    assert len(set(codes)) == len(codes)
    assert RelayError.code not in codes


@pytest.mark.parametrize("error", WITH_A_CODE_FOR_EACH_CASE, ids=lambda error: type(error).__name__)
def test_a_kind_that_covers_many_cases_has_the_code_of_the_case(error: RelayError) -> None:
    assert (error.code, str(error)) == ("CASE", "what")


def test_the_bases_are_caught_but_never_raised() -> None:
    package = Path(errors.__file__).parent
    trees = (ast.walk(ast.parse(path.read_text())) for path in package.rglob("*.py"))
    raised = [ast.unparse(node.exc) for tree in trees for node in tree if isinstance(node, ast.Raise) and node.exc]

    assert [text for text in raised if text.partition("(")[0] in {"RelayError", "ProtocolError"}] == []


def test_it_is_told_who_has_broken_the_protocol() -> None:
    assert issubclass(LocalProtocolError, ProtocolError)
    assert issubclass(RemoteProtocolError, ProtocolError)
    assert not issubclass(LocalProtocolError, RemoteProtocolError)


@pytest.mark.parametrize(
    ("closed", "text"), [(LegClosed(1000, "bye"), "closed with 1000 bye"), (LegClosed(1005), "closed with 1005")]
)
def test_a_close_is_told_with_its_code_and_its_reason_if_there_is_one(closed: LegClosed, text: str) -> None:
    assert str(closed) == text
