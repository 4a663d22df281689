import json
from dataclasses import fields
from pathlib import Path

import pytest

from relay.config import SECTIONS, AssistantConfig, Config
from relay.config_file import listen_address, load, masked
from relay.errors import ConfigError
from relay.secrets import Secrets
from relay.wire.webhook_auth import WebhookRules

SHIPPED = Path(__file__).resolve().parent.parent / "config.toml"
ENVIRON = {"TWILIO_AUTH_TOKEN": "twilio-token", "VAPI_API_KEY": "vapi-key", "VAPI_ASSISTANT_ID": "assistant-1"}
RECORD_KEY = "c3czcmV0LW9mLXRoZS10ZXN0LXdpdGgtMzItYnl0ZXM="
DEFAULTS = Config(
    assistants=(AssistantConfig(name="vapi", assistant_id="assistant-1"),),
    secrets=Secrets(twilio_auth_tokens=("twilio-token",), vapi_api_keys={"vapi": "vapi-key"}),
)


def loaded(tmp_path: Path, text: str, **environ: str) -> Config:
    path = tmp_path / "c.toml"
    path.write_text(text)
    return load(path, {**ENVIRON, **environ})


def refusal(tmp_path: Path, text: str, **environ: str) -> str:
    with pytest.raises(ConfigError) as caught:
        loaded(tmp_path, text, **environ)
    message = str(caught.value)
    assert message.startswith(f"{tmp_path / 'c.toml'}: ")
    assert message.isprintable()
    return message.removeprefix(f"{tmp_path / 'c.toml'}: ")


def test_the_shipped_file_is_exactly_the_defaults() -> None:
    assert load(SHIPPED, ENVIRON) == DEFAULTS


def test_an_empty_file_is_exactly_the_defaults(tmp_path: Path) -> None:
    assert loaded(tmp_path, "") == DEFAULTS


def test_every_section_is_a_part_of_the_config() -> None:
    assert {field.name for field in fields(Config)} == {*SECTIONS, "assistants", "secrets", "webhooks"}


def test_keys_are_taken_from_the_file(tmp_path: Path) -> None:
    config = loaded(tmp_path, '[server]\nport = 0\npublic_url = "https://r.example/"\n[vad]\nthreshold = 0.7\n')

    assert config.server.port == 0
    assert config.server.public_url == "https://r.example"
    assert config.vad.threshold == 0.7


@pytest.mark.parametrize(
    ("vapi", "rate_hz"),
    [
        ('audio_format = "mulaw"', 8000),
        ('audio_format = "mulaw"\nsample_rate_hz = 8000', 8000),
        ('audio_format = "pcm_s16le"', 16000),
        ("sample_rate_hz = 24000", 24000),
    ],
)
def test_the_sample_rate_follows_the_format_when_it_is_not_set(tmp_path: Path, vapi: str, rate_hz: int) -> None:
    assert loaded(tmp_path, f"[vapi]\n{vapi}\n").assistants[0].sample_rate_hz == rate_hz


def test_the_assistant_id_of_the_file_wins_over_the_environment(tmp_path: Path) -> None:
    assert loaded(tmp_path, '[vapi]\nassistant_id = "other"').assistants[0].assistant_id == "other"


def test_two_auth_tokens_are_both_taken_during_a_rotation(tmp_path: Path) -> None:
    config = loaded(tmp_path, "", TWILIO_AUTH_TOKEN="old,new", TWILIO_SHARED_KEYS="id1=a==,id2=b")

    assert config.secrets.twilio_auth_tokens == ("old", "new")
    assert config.secrets.twilio_shared_keys == {"id1": "a==", "id2": "b"}


def test_a_ladder_replaces_the_vapi_table(tmp_path: Path) -> None:
    text = """
        [[assistants]]
        name = "main"
        assistant_id = "a"
        [[assistants]]
        name = "spare"
        assistant_id = "b"
        audio_format = "mulaw"
        max_call_s = 1800
        api_key_env = "SPARE_KEY"
        [vapi]
        webhook_secret_file = ""
    """
    config = loaded(tmp_path, text, SPARE_KEY="spare-key")

    assert [(a.name, a.assistant_id, a.sample_rate_hz, a.max_call_s) for a in config.assistants] == [
        ("main", "a", 16000, 0.0),
        ("spare", "b", 8000, 1800.0),
    ]
    assert config.secrets.vapi_api_keys == {"main": "vapi-key", "spare": "spare-key"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[vapi]\nassistant_id='x'\n[[assistants]]\nname='main'\n", "move vapi.assistant_id into an entry of"),
        ("[[assistants]]\nname='a'\n", 'assistants[0].assistant_id = "" is not allowed'),
        ("[[assistants]]\nassistant_id='a'\n", "assistants[0].name is missing"),
        ("[[assistants]]\nname='a'\nassistant_id='a'\nnmae='x'", '[assistants[0]] has an unknown key "nmae"; did you'),
        (
            "[[assistants]]\nname='a'\nassistant_id='a'\n[[assistants]]\nname='a'\nassistant_id='b'",
            'assistants[1].name = "a" is not allowed: a name that no other assistant has',
        ),
        ("[vapi]\nmax_call_s = 9.5\n", "vapi.max_call_s = 9.5 is not allowed: 10 to 43200, or 0"),
        ("assistants = []", "assistants = [] is not allowed: one or more [[assistants]] tables"),
        ("assistants = 5", "assistants = 5 is not allowed: one or more [[assistants]] tables"),
        (
            "[[assistants]]\nname='a'\nassistant_id='a'\napi_key_env='OTHER'",
            "OTHER is not set (assistants[0] needs it)",
        ),
        ("[sever]\n", 'has an unknown table or key "sever"; did you mean "server"?'),
        ("[vad]\ntreshold = 0.5\n", '[vad] has an unknown key "treshold"; did you mean "threshold"?'),
        ("[vad]\nthreshold = 0.95\n", "vad.threshold = 0.95 is not allowed: a number from 0.3 to 0.9"),
        ("[vad]\nmodel_rate_hz = 48000\n", "vad.model_rate_hz = 48000 is not allowed: one of 8000, 16000"),
        ("[server]\nport = 65536\n", "server.port = 65536 is not allowed: a whole number from 0 to 65535"),
        ("[server]\nport = '80'\n", 'server.port = "80" is not allowed: a whole number from 0 to 65535'),
        (
            "[server]\ntrusted_proxies = ['10.0.0.1/8']\n",
            'server.trusted_proxies = ["10.0.0.1/8"] is not allowed: a list of IP addresses and networks, as "10.',
        ),
        ("[twilio]\npass_fields = ['From']\n", "is not allowed: twilio.pass_caller_number = true in the place of it"),
        ("[twilio]\npass_fields = ['caller']\n", 'twilio.pass_fields = ["caller"] is not allowed'),
        ("[twilio]\npass_fields = ['Plan', 'token']\n", "no name that looks like that of a secret"),
        ("[twilio]\npass_fields = ['StirPassportToken']\n", "no name that looks like that of a secret"),
        ("[twilio]\npass_fields = ['SipHeader_X-Api-Key']\n", "no name that looks like that of a secret"),
        ("[twilio]\npass_fields = ['a b']\n", "at most 20 names of letters, digits, _, . and -"),
        (f"[twilio]\npass_fields = {['Plan'] * 21}\n", "at most 20 names"),
        ("[server]\ntrusted_proxies = ['localhost']\n", 'server.trusted_proxies = ["localhost"] is not allowed'),
        ("[admin]\nlisten = '8081'\n", 'admin.listen = "8081" is not allowed: HOST:PORT'),
        ("[admin]\nlisten = '127.0.0.1:65536'\n", "admin.listen = "),
        ("[admin]\nlisten = ':8081'\n", "admin.listen = "),
        ("[admin]\nlisten = 'http://127.0.0.1:8081'\n", "admin.listen = "),
        ("[server]\ntrusted_proxies = ['10.0.0.0/33']\n", "server.trusted_proxies = "),
        ("server = 1\n", "server = 1 is not allowed: it must be a table"),
        (
            "[twilio]\naccount_sids = ['AC1']\n",
            'twilio.account_sids = ["AC1"] is not allowed: a list of text of the form',
        ),
        ("[vapi]\naudio_format = 'opus'\n", 'vapi.audio_format = "opus" is not allowed: one of "mulaw", "pcm_s16le"'),
        (
            "[vapi]\nsample_rate_hz = 44100\n",
            "vapi.sample_rate_hz = 44100 is not allowed: one of 8000, 16000, 24000, 48000",
        ),
        (
            "[vapi]\naudio_format = 'mulaw'\nsample_rate_hz = 16000\n",
            "vapi.sample_rate_hz = 16000 is not allowed: with audio_format mulaw: 8000, or leave it out",
        ),
        ("[vapi]\napi_base = 'http://api.vapi.ai'\n", 'vapi.api_base = "http://api.vapi.ai" is not allowed: https://'),
        ("[barge_in]\npause_ms = 1500\nold_turn_ms = 1000", "barge_in.pause_ms = 1500 is not allowed: at most"),
        ("[barge_in]\nfalse_alarm_ms = 1900", "barge_in.false_alarm_ms = 1900 is not allowed: at least"),
        (
            "[logging]\nlevel = 'loud'",
            'logging.level = "loud" is not allowed: one of "debug", "error", "info", "warning"',
        ),
        ("[client]\nrequire_token = true", "RELAY_CLIENT_KEY is not set (client.require_token is true)"),
    ],
)
def test_a_wrong_configuration_is_refused_naming_the_key_and_what_is_allowed(
    tmp_path: Path, text: str, message: str
) -> None:
    assert message in refusal(tmp_path, text)


WEBHOOKS = {"VAPI_WEBHOOK_SECRET": "old-secret-of-the-test,new-secret-of-the-test"}


def test_webhooks_have_the_header_of_their_way_in_and_stand_beside_a_ladder(tmp_path: Path) -> None:
    ladder = "[[assistants]]\nname='main'\nassistant_id='a'\n[vapi]\nwebhooks = true\n"
    signed = "webhook_auth = 'hmac'\nwebhook_credential_id = 'c'\nwebhook_prefix = 'sha256='\n"
    plain, by_hmac = loaded(tmp_path, ladder, **WEBHOOKS), loaded(tmp_path, ladder + signed, **WEBHOOKS)

    assert plain.webhooks == WebhookRules()
    assert by_hmac.webhooks == WebhookRules(auth="hmac", header="x-signature", prefix="sha256=", credential_id="c")
    assert plain.secrets.vapi_webhook_secrets == ("old-secret-of-the-test", "new-secret-of-the-test")


@pytest.mark.parametrize(
    ("text", "secrets", "message"),
    [
        ("[vapi]\nwebhooks = true", {}, "VAPI_WEBHOOK_SECRET is not set (vapi.webhooks is true)"),
        ("", {"VAPI_WEBHOOK_SECRET": "good-secret-of-the-test,short"}, "each of VAPI_WEBHOOK_SECRET has 5 characters"),
        ("[vapi]\nwebhooks = true\nwebhook_auth = 'bearer'", WEBHOOKS, 'vapi.webhook_credential_id = "" is not'),
        ("[vapi]\nwebhook_payload = '{timestamp}'", {}, "a text with {body} once"),
        ("[vapi]\nwebhook_payload = '{id}.{body}'", {}, "a text with {body} once"),
        ("[events]\nforward_url = 'http://crm.example.com'", {}, "events.forward_url = "),
        (
            "[vapi]\nwebhooks = true\n[events]\nforward_url = 'https://crm.example.com/vapi'",
            WEBHOOKS,
            "RELAY_EVENTS_SECRET is not set (events.forward_url is set)",
        ),
    ],
)
def test_webhooks_without_what_they_need_are_refused(
    tmp_path: Path, text: str, secrets: dict[str, str], message: str
) -> None:
    assert message in refusal(tmp_path, text, **secrets)


@pytest.mark.parametrize(
    "url",
    [
        "http://relay.example.com",
        "wss://relay.example.com",
        "relay.example.com",
        "https://",
        "https://relay.example.com/path",
        "https://relay.example.com?x=1",
        "https://relay.example.com?",
        "https://relay.example.com#x",
        "https://user:s3cret@relay.example.com",
        "https://relay.example.com:99999",
        "https://[::1",
        "https://relay example.com",
        "http://localhost.example.com",
    ],
)
def test_a_public_url_that_twilio_could_not_sign_is_refused(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, f'[server]\npublic_url = "{url}"')

    assert message.startswith("server.public_url = ")
    assert "https://HOST" in message
    assert "s3cret" not in message


@pytest.mark.parametrize(
    "url", ["http://localhost:8080", "http://127.0.0.1:1", "http://[::1]:80", "https://a.example:8443"]
)
def test_tls_is_needed_except_to_this_machine(tmp_path: Path, url: str) -> None:
    config = loaded(tmp_path, f'[server]\npublic_url = "{url}"\n[vapi]\napi_base = "{url}/"\n')

    assert config.server.public_url == url
    assert config.assistants[0].api_base == url


@pytest.mark.parametrize(
    "url",
    [
        "memory:",
        "sqlite:",
        "sqlite:/var/lib/x.db",
        "redis://host:6379/0",
        "redis://[::1]:6379",
        "rediss://host",
        "rediss://host/1?ssl_ca_certs=/etc/ca.pem",
    ],
)
def test_every_kind_of_state_store_is_accepted(tmp_path: Path, url: str) -> None:
    assert loaded(tmp_path, f'[state]\nurl = "{url}"').state.url == url


@pytest.mark.parametrize(
    "url",
    [
        "sqlite",
        "mysql://x",
        "memory:x",
        "redis:",
        "redis://",
        "redis://:s3cret@host",
        "redis://host?password=s3cret",
        "redis://host/0?ssl_ca_certs=/x&password=s3cret",
        "rediss://host?ssl_cert_reqs=none",
    ],
)
def test_any_other_state_store_is_refused_without_showing_a_password(tmp_path: Path, url: str) -> None:
    message = refusal(tmp_path, f'[state]\nurl = "{url}"')

    assert message.startswith("state.url = ")
    assert "s3cret" not in message


def test_all_recordings_together_may_be_as_great_as_one_at_least(tmp_path: Path) -> None:
    assert loaded(tmp_path, "[record]\nmax_call_mb = 20\nmax_total_mb = 20").record.max_total_mb == 20
    assert refusal(tmp_path, "[record]\nmax_total_mb = 63").startswith(
        "record.max_total_mb = 63 is not allowed: at least"
    )


@pytest.mark.parametrize("name", ["TWILIO_AUTH_TOKEN", "VAPI_API_KEY"])
def test_a_missing_secret_refuses_to_start(tmp_path: Path, name: str) -> None:
    assert refusal(tmp_path, "", **{name: ""}).startswith(f"{name} is not set")


@pytest.mark.parametrize("name", ["RELAY_ADMIN_TOKEN", "RELAY_CLIENT_KEY"])
def test_a_secret_of_our_own_that_could_be_guessed_refuses_to_start(tmp_path: Path, name: str) -> None:
    message = refusal(tmp_path, "", **{name: "s3cret" + "x" * 9})

    assert message == f"{name} has 15 characters, must have 16 or more"
    loaded(tmp_path, "", **{name: "s3cret" + "x" * 10})


@pytest.mark.parametrize(
    ("value", "why"),
    [("s3cret", "is no Base64"), ("czNjcmV0", "has 6 bytes"), (f"{RECORD_KEY},czNjcmV0", "has 6 bytes")],
)
def test_a_key_of_recordings_that_is_none_refuses_to_start_and_is_not_shown(
    tmp_path: Path, value: str, why: str
) -> None:
    message = refusal(tmp_path, "", RELAY_RECORD_KEY=value)

    assert message == f"a key of RELAY_RECORD_KEY {why}, must be 32 bytes in Base64"


def test_keys_of_recordings_are_old_to_new(tmp_path: Path) -> None:
    other = RECORD_KEY.swapcase()
    secrets = loaded(tmp_path, "", RELAY_RECORD_KEY=f"{RECORD_KEY},{other}").secrets

    assert secrets.record_keys == (RECORD_KEY, other)
    assert {RECORD_KEY, other} <= secrets.values()
    (tmp_path / "key").write_text(f"{other}\n")
    assert loaded(tmp_path, f"record.key_file = '{tmp_path}/key'").secrets.record_keys == (other,)


@pytest.mark.parametrize("twilio", ["enabled = false", "validate_signatures = false"])
def test_the_auth_token_is_not_needed_when_nothing_is_checked_with_it(tmp_path: Path, twilio: str) -> None:
    assert loaded(tmp_path, f"[twilio]\n{twilio}\n", TWILIO_AUTH_TOKEN="").secrets.twilio_auth_tokens == ()


@pytest.mark.parametrize(("text", "instance"), [("", "3"), ('[server]\ninstance = "a1"\n', "a1")])
def test_the_name_of_the_process_comes_from_the_file_or_else_from_the_environment(
    text: str, instance: str, tmp_path: Path
) -> None:
    assert loaded(tmp_path, text, RELAY_INSTANCE="3").server.instance == instance


@pytest.mark.parametrize("name", ["a/b", "a.b", "a-1", "x" * 17])
def test_a_name_of_the_process_that_no_address_could_have_is_refused(name: str, tmp_path: Path) -> None:
    assert refusal(tmp_path, "", RELAY_INSTANCE=name).startswith(f'RELAY_INSTANCE = "{name}" is not allowed')
    assert refusal(tmp_path, f'[server]\ninstance = "{name}"\n').startswith(
        f'server.instance = "{name}" is not allowed'
    )


def test_an_assistant_id_is_needed(tmp_path: Path) -> None:
    assert refusal(tmp_path, "", VAPI_ASSISTANT_ID="").startswith('vapi.assistant_id = "" is not allowed')


@pytest.mark.parametrize("value", ["s3cret", "=s3cret", "id=", "id=s3cret,s3cret2"])
def test_a_malformed_list_of_shared_keys_is_refused_without_showing_it(tmp_path: Path, value: str) -> None:
    message = refusal(tmp_path, "", TWILIO_SHARED_KEYS=value)

    assert message == "TWILIO_SHARED_KEYS must be a list of KEY_ID=SECRET with commas between"


@pytest.mark.parametrize(
    ("key", "variable", "field"),
    [
        ("twilio.auth_token_file", "TWILIO_AUTH_TOKEN", "twilio_auth_tokens"),
        ("twilio.shared_keys_file", "TWILIO_SHARED_KEYS", "twilio_shared_keys"),
        ("vapi.api_key_file", "VAPI_API_KEY", "vapi_api_keys"),
        ("vapi.webhook_secret_file", "VAPI_WEBHOOK_SECRET", "vapi_webhook_secrets"),
        ("events.secret_file", "RELAY_EVENTS_SECRET", "events_secret"),
        ("admin.token_file", "RELAY_ADMIN_TOKEN", "admin_token"),
        ("client.key_file", "RELAY_CLIENT_KEY", "client_key"),
        ("state.password_file", "RELAY_REDIS_PASSWORD", "redis_password"),
    ],
)
def test_every_secret_comes_from_its_variable_or_from_its_file(
    tmp_path: Path, key: str, variable: str, field: str
) -> None:
    file = tmp_path / "secret"
    file.write_text("id=a-value-that-is-long\n")

    from_file = loaded(tmp_path, f"{key} = '{file}'\n", **{variable: ""})
    from_variable = loaded(tmp_path, "", **{variable: "id=a-value-that-is-long"})

    assert getattr(from_file.secrets, field)
    assert from_file.secrets == from_variable.secrets


def test_the_masked_configuration_shows_which_secrets_are_set_and_none_of_them(tmp_path: Path) -> None:
    secrets = {
        "TWILIO_AUTH_TOKEN": "s3cret-1,s3cret-2",
        "TWILIO_SHARED_KEYS": "id=s3cret-3",
        "VAPI_API_KEY": "s3cret-4",
        "VAPI_WEBHOOK_SECRET": "s3cret-5-of-the-test",
        "RELAY_ADMIN_TOKEN": "s3cret-6-of-the-test",
    }
    shown = masked(loaded(tmp_path, "", **secrets))

    assert "s3cret" not in json.dumps(shown)
    assert shown["server"]["port"] == 8080
    assert shown["assistants"][0]["api_key"] == "set"
    assert shown["secrets"] == {
        "TWILIO_AUTH_TOKEN": "set",
        "TWILIO_SHARED_KEYS": "set",
        "VAPI_WEBHOOK_SECRET": "set",
        "RELAY_EVENTS_SECRET": "not set",
        "RELAY_ADMIN_TOKEN": "set",
        "RELAY_CLIENT_KEY": "not set",
        "RELAY_REDIS_PASSWORD": "not set",
        "RELAY_RECORD_KEY": "not set",
    }


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("", ("", 0)),
        ("127.0.0.1:8081", ("127.0.0.1", 8081)),
        ("[::1]:0", ("::1", 0)),
        ("relay.internal:1", ("relay.internal", 1)),
    ],
)
def test_an_address_to_listen_on_is_a_host_and_a_port(text: str, address: tuple[str, int]) -> None:
    assert listen_address(text) == address
