"""Resume tokens: good once, one at a time, and nobody else's."""

import pytest

from relay.errors import RequestRefused
from relay.logic import tokens as token_module
from relay.logic.tokens import ResumeTokens


def refusal(tokens: ResumeTokens, token: str) -> str:
    with pytest.raises(RequestRefused) as caught:
        tokens.claim(token)
    assert caught.value.status == 403
    assert token not in str(caught.value) or not token
    return caught.value.code


def test_a_token_is_good_once_for_its_session() -> None:
    tokens = ResumeTokens()
    first, second = tokens.issue("a"), tokens.issue("b")

    assert tokens.claim(first) == "a"
    assert refusal(tokens, first) == "RESUME_USED"
    assert tokens.claim(second) == "b"


def test_a_new_token_voids_the_one_before() -> None:
    tokens = ResumeTokens()
    old, new = tokens.issue("a"), tokens.issue("a")

    assert refusal(tokens, old) == "RESUME_UNKNOWN"
    assert tokens.claim(new) == "a"


@pytest.mark.parametrize("token", ["", "guess", "\ud800", "x" * 10_000])
def test_a_guess_is_unknown(token: str) -> None:
    tokens = ResumeTokens()
    tokens.issue("a")

    assert refusal(tokens, token) == "RESUME_UNKNOWN"


def test_a_session_that_is_over_has_no_token() -> None:
    tokens = ResumeTokens()
    token = tokens.issue("a")
    tokens.discard("a")
    tokens.discard("a")

    assert refusal(tokens, token) == "RESUME_UNKNOWN"


def test_only_so_many_used_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "USED_MAX", 2)
    tokens = ResumeTokens()
    used = [tokens.issue("a") for _ in range(1)]
    tokens.claim(used[0])
    for _ in range(2):
        used.append(tokens.issue("a"))
        tokens.claim(used[-1])

    assert [refusal(tokens, token) for token in used] == ["RESUME_UNKNOWN", "RESUME_USED", "RESUME_USED"]
