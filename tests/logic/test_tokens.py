"""Tokens are good once, for one subject, and nobody can guess or read one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import AuthRejected, RequestRefused
from relay.logic import tokens as token_module
from relay.logic.tokens import ResumeTokens, Tokens, fingerprint

SID = "CA" + "1" * 32
OTHER = "CA" + "2" * 32


def test_a_token_is_good_once_for_its_subject() -> None:
    tokens = Tokens(60)
    token = tokens.issue(SID, 0)

    assert tokens.claim(token, SID, 59.9) == SID
    with pytest.raises(AuthRejected, match="used before"):
        tokens.claim(token, SID, 59.95)


def test_without_an_expected_subject_the_token_names_it() -> None:
    tokens = Tokens(60)

    assert tokens.claim(tokens.issue(SID, 0), None, 1) == SID


def test_a_token_ends_at_its_time() -> None:
    tokens = Tokens(60)
    token = tokens.issue(SID, 100)

    with pytest.raises(AuthRejected, match="expired"):
        tokens.claim(token, SID, 160)


def test_a_token_of_another_call_is_refused_and_not_used_up() -> None:
    tokens = Tokens(60)
    token = tokens.issue(SID, 0)

    with pytest.raises(AuthRejected, match="another subject"):
        tokens.claim(token, OTHER, 1)
    assert tokens.claim(token, SID, 1) == SID


@pytest.mark.parametrize("forged", ["", "x", "\udcff", "é" * 1000, SID])
def test_what_was_never_issued_is_unknown(forged: str) -> None:
    tokens = Tokens(60)
    tokens.issue(SID, 0)

    with pytest.raises(AuthRejected, match="unknown"):
        tokens.claim(forged, None, 1)


def test_no_text_of_an_error_holds_the_token_or_the_subject() -> None:
    tokens = Tokens(60)
    token = tokens.issue(SID, 0)
    texts = []
    for claimed, subject, now in [
        (token + "x", SID, 1),
        (token, OTHER, 1),
        (token, SID, 1),
        (token, SID, 1),
        (token, SID, 61),
    ]:
        try:
            tokens.claim(claimed, subject, now)
        except AuthRejected as error:
            texts.append(str(error))

    assert len(texts) == 4
    assert not any(secret in text for text in texts for secret in (token, SID, OTHER))


def test_tokens_have_128_bits_or_more_and_never_repeat() -> None:
    tokens = Tokens(60, max_tokens=1000)
    issued = [tokens.issue(SID, 0) for _ in range(1000)]

    assert len(set(issued)) == 1000
    assert min(map(len, issued)) * 6 >= 128


def test_the_token_itself_is_not_kept() -> None:
    tokens = Tokens(60)

    assert tokens.issue(SID, 0) not in repr(vars(tokens))


def test_discard_forgets_all_tokens_of_one_subject_only() -> None:
    tokens = Tokens(60)
    first, second, other = tokens.issue(SID, 0), tokens.issue(SID, 0), tokens.issue(OTHER, 0)
    tokens.discard(SID)

    for token in (first, second):
        with pytest.raises(AuthRejected, match="unknown"):
            tokens.claim(token, None, 1)
    assert tokens.claim(other, None, 1) == OTHER


def test_when_too_many_are_kept_the_one_that_expires_first_goes() -> None:
    tokens = Tokens(60, max_tokens=2)
    oldest, middle, newest = (tokens.issue(SID, second) for second in range(3))

    with pytest.raises(AuthRejected, match="unknown"):
        tokens.claim(oldest, None, 3)
    assert [tokens.claim(token, None, 3) for token in (middle, newest)] == [SID, SID]


@given(st.lists(st.floats(0, 100), min_size=1, max_size=60))
def test_expired_tokens_leave_nothing_behind(steps: list[float]) -> None:
    tokens = Tokens(60)
    now, issued = 0.0, []
    for step in steps:
        now += step
        issued.append((tokens.issue(SID, now), now))

    assert [tokens.knows(token) for token, _ in issued] == [at + 60 > now for _, at in issued]


def test_what_another_process_must_know_are_the_fingerprints_of_those_that_are_still_good() -> None:
    tokens = Tokens(60)
    used, expired = tokens.issue(SID, 10), tokens.issue(SID, 0)
    good = tokens.issue(SID, 20)
    tokens.issue("another", 20)
    tokens.claim(used, SID, 30)

    assert tokens.kept(SID, 61) == [(fingerprint(good), 80)]
    assert good not in fingerprint(good)
    assert tokens.knows(good)
    assert tokens.knows(used)
    assert not tokens.knows(expired + "x")


# -- resume tokens


def refusal(tokens: ResumeTokens, token: str) -> str:
    with pytest.raises(RequestRefused) as caught:
        tokens.claim(token)
    assert caught.value.status == 403
    assert token not in str(caught.value) or not token
    return caught.value.code


def test_a_resume_token_is_good_once_for_its_session() -> None:
    tokens = ResumeTokens()
    first, second = tokens.issue("a"), tokens.issue("b")

    assert tokens.claim(first) == "a"
    assert refusal(tokens, first) == "RESUME_USED"
    assert tokens.claim(second) == "b"


def test_a_new_resume_token_voids_the_one_before() -> None:
    tokens = ResumeTokens()
    old, new = tokens.issue("a"), tokens.issue("a")

    assert refusal(tokens, old) == "RESUME_UNKNOWN"
    assert tokens.claim(new) == "a"


@pytest.mark.parametrize("token", ["", "guess", "\ud800", "x" * 10_000])
def test_a_guessed_resume_token_is_unknown(token: str) -> None:
    tokens = ResumeTokens()
    tokens.issue("a")

    assert refusal(tokens, token) == "RESUME_UNKNOWN"


def test_a_session_that_is_over_has_no_resume_token() -> None:
    tokens = ResumeTokens()
    token = tokens.issue("a")
    tokens.discard("a")
    tokens.discard("a")

    assert refusal(tokens, token) == "RESUME_UNKNOWN"


def test_only_so_many_used_resume_tokens_are_remembered(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(token_module, "USED_MAX", 2)
    tokens = ResumeTokens()
    used = [tokens.issue("a") for _ in range(1)]
    tokens.claim(used[0])
    for _ in range(2):
        used.append(tokens.issue("a"))
        tokens.claim(used[-1])

    assert [refusal(tokens, token) for token in used] == ["RESUME_UNKNOWN", "RESUME_USED", "RESUME_USED"]


def test_another_life_is_for_tokens_that_are_issued_from_then_on() -> None:
    tokens = Tokens(ttl_s=60)
    long = tokens.issue("a", 0.0)
    tokens.ttl_s = 10
    short = tokens.issue("a", 0.0)

    assert tokens.claim(long, "a", 59.0) == "a"
    with pytest.raises(AuthRejected, match="expired"):
        tokens.claim(short, "a", 11.0)
