"""A configuration takes the place of another while the daemon serves: what has the new one, and what keeps the old."""

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
import trio

from relay.config import (
    AdminConfig,
    AssistantConfig,
    BargeInConfig,
    ClientConfig,
    Config,
    LimitsConfig,
    ReconnectConfig,
    RecordConfig,
    ServerConfig,
    SessionConfig,
    TwilioConfig,
)
from relay.daemon.generations import DialerSet, Generations
from relay.errors import CallRefused, ConfigError, RequestRefused
from relay.record.recorder import open_recorder
from relay.redaction import Redactor
from relay.secrets import Secrets
from relay.wire.browser import ClientStart
from tests.support.frontrig import (
    ADMIN_TOKEN,
    AUTH_TOKEN,
    OTHER_SID,
    PUBLIC,
    SID,
    FrontRig,
    front_config,
    open_front,
    ringing,
    signature,
)

SECRETS = {"twilio_auth_tokens": (AUTH_TOKEN,), "vapi_api_keys": {"fake": "key"}, "admin_token": ADMIN_TOKEN}
NOWHERE = AssistantConfig("fake", "assistant-id", api_base="http://127.0.0.1:9")
BROWSER = "192.0.2.1"


def config(*assistants: AssistantConfig, secrets: dict[str, Any] | None = None, **tables: Any) -> Config:
    return Config(assistants=assistants or (NOWHERE,), secrets=Secrets(**{**SECRETS, **(secrets or {})}), **tables)


@asynccontextmanager
async def reloadable(held: Config | None = None) -> AsyncIterator[tuple[FrontRig, Generations]]:
    """A relay that answers, and its generations."""
    async with open_front(held or front_config()) as rig, AsyncExitStack() as stack:
        recorder = await stack.enter_async_context(open_recorder(rig.context.config, rig.redactor))
        yield rig, Generations(rig.context, DialerSet(rig.redactor, stack), recorder, rig.redactor)


async def rings(rig: FrontRig, sid: str, *, token: str = AUTH_TOKEN) -> int:
    form = ringing(sid)
    headers = {"X-Twilio-Signature": signature(f"{PUBLIC}/twilio/voice", form, token)}
    return (await rig.post("/twilio/voice", form, sign=False, headers=headers)).status_code


async def test_a_file_that_cannot_be_used_changes_nothing(tmp_path: Path) -> None:
    async with reloadable() as (rig, generations):
        held = generations.config
        with pytest.raises(ConfigError, match="apology_file"):
            await generations.renew(
                config(secrets={"twilio_auth_tokens": ("new",)}, reconnect=ReconnectConfig(apology_file=str(tmp_path)))
            )

        assert (generations.config, generations.number) == (held, 1)
        assert await rings(rig, SID) == 200


async def test_requests_are_judged_by_the_new_secrets() -> None:
    async with reloadable() as (rig, generations):
        await generations.renew(config(secrets={"twilio_auth_tokens": ("new",), "admin_token": None}))

        assert [await rings(rig, SID), await rings(rig, OTHER_SID, token="new")] == [403, 200]
        authorization = {"Authorization": f"Bearer {ADMIN_TOKEN}"}
        assert (await rig.http.get("/calls", headers=authorization)).status_code == 404
        assert (await rig.http.get("/admin")).status_code == 404
        assert (await rig.http.get("/health")).json()["generation"] == generations.number == 2


async def test_an_admin_token_that_comes_later_opens_the_page_for_operators() -> None:
    async with reloadable(front_config({"admin_token": None})) as (rig, generations):
        before = await rig.http.get("/admin")
        await generations.renew(config())

        assert [before.status_code, (await rig.http.get("/admin")).status_code] == [404, 200]


async def test_the_log_hides_the_secrets_of_both() -> None:
    async with reloadable() as (rig, generations):
        rig.redactor.add("old-secret")
        await generations.renew(config(secrets={"vapi_api_keys": {"fake": "new-secret"}}))
        await generations.renew(config(secrets={"vapi_api_keys": {"fake": "new-secret"}}))
        rig.redactor.discard("new-secret")

        assert rig.redactor.text("old-secret new-secret") == "*** new-secret", "each secret is added once"


async def test_less_room_ends_no_call_and_takes_no_other(tmp_path: Path) -> None:
    held = front_config(limits=LimitsConfig(max_calls=2))
    async with reloadable(held) as (rig, generations):
        await rings(rig, SID)
        await generations.renew(config(limits=LimitsConfig(max_calls=1)))
        with pytest.raises(CallRefused) as refused:
            rig.calls.answer(OTHER_SID)

        assert (refused.value.cause, len(rig.calls)) == ("max_calls", 1)


async def test_what_an_address_has_used_of_its_share_stays_used() -> None:
    async with reloadable() as (rig, generations):
        rig.context.sessions.begin(ClientStart(), BROWSER)
        rig.context.limits.starts.count(BROWSER)
        await generations.renew(
            config(limits=LimitsConfig(sessions_per_address=1, client_starts_burst=1, client_starts_per_s=0.1))
        )
        with pytest.raises(RequestRefused) as sessions:
            rig.context.sessions.begin(ClientStart(), BROWSER)
        with pytest.raises(RequestRefused) as starts:
            rig.context.limits.starts.count(BROWSER)

        assert [sessions.value.code, starts.value.code] == ["TOO_MANY_SESSIONS", "TOO_MANY_REQUESTS"]


async def test_a_token_of_a_browser_is_good_under_the_next_configuration() -> None:
    key = "client-key-of-the-test"
    held = front_config({"client_key": key}, client=ClientConfig(token_ttl_s=60))
    async with reloadable(held) as (rig, generations):
        answer = await rig.http.post("/client/token", headers={"Authorization": f"Bearer {key}"})
        await generations.renew(config(client=ClientConfig(require_token=True), secrets={"client_key": "another" * 3}))
        start = {"type": "start", "token": answer.json()["token"]}

        assert (await rig.http.post("/client", json=start)).status_code == 201
        assert (await rig.http.post("/client", json=start)).status_code == 403


async def test_recording_begins_with_the_next_call(tmp_path: Path) -> None:
    async with reloadable(front_config(record=RecordConfig(dir=str(tmp_path)))) as (rig, generations):
        await rings(rig, SID)
        await generations.renew(config(record=RecordConfig(mode="all", dir=str(tmp_path))))
        await rings(rig, OTHER_SID)
        recorded = [call.report.recording is not None for call in rig.calls.live()]
        await generations.renew(config(record=RecordConfig(dir=str(tmp_path))))

        assert recorded == [False, True]
        assert rig.calls.services.recorder is None


async def test_an_assistant_with_the_same_keys_keeps_its_dialer_and_another_gets_its_own() -> None:
    other = AssistantConfig("other", "other-id", api_base="http://127.0.0.1:9")
    both = {"vapi_api_keys": {"fake": "key", "other": "key"}}
    async with AsyncExitStack() as stack:
        made = DialerSet(Redactor(), stack)
        (first,) = await made.of(config(limits=LimitsConfig(max_calls=1)))
        (same,) = await made.of(config(server=ServerConfig(drain_timeout_s=1)))
        kept, second = await made.of(config(NOWHERE, other, secrets=both))
        changes = [
            config(secrets={"vapi_api_keys": {"fake": "another-key"}}),
            config(session=SessionConfig(max_duration_s=60)),
            config(barge_in=BargeInConfig(protect_first_message=True)),
            config(AssistantConfig("fake", "another-id", api_base="http://127.0.0.1:9")),
        ]
        others = [(await made.of(change))[0] for change in changes]

    assert first is same is kept
    assert len({id(dialer) for dialer in (first, second, *others)}) == 6


async def test_what_needs_a_restart_is_not_taken_over() -> None:
    async with reloadable() as (_, generations):
        change = await generations.renew(
            config(
                server=ServerConfig(port=1), twilio=TwilioConfig(enabled=False), admin=AdminConfig(token_file="/token")
            )
        )

        assert change.needs_restart == ("server.port", "twilio.enabled")
        assert generations.config.server.port == ServerConfig().port
        assert generations.config.twilio.enabled


async def test_a_reload_that_is_cancelled_changes_nothing() -> None:
    async with reloadable() as (_, generations):
        with trio.CancelScope() as scope:
            scope.cancel()
            await generations.renew(config(limits=LimitsConfig(max_calls=1)))

        assert generations.number == 1
