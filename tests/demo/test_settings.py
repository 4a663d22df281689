"""The daemon of the demo is configured as in production, with secrets that are made up for one run."""

from pathlib import Path

from relay.config_file import load
from relay.demo.settings import PUBLIC_URL, Credentials, config_toml


def test_the_configuration_is_good_and_checks_signatures(tmp_path: Path) -> None:
    credentials = Credentials()
    path = tmp_path / "config.toml"
    path.write_text(config_toml("http://127.0.0.1:8090", tmp_path / 'a "b"'))
    config = load(path, credentials.environ())

    assert config.twilio.validate_signatures
    assert config.server.public_url == PUBLIC_URL
    assert (config.server.host, config.server.port) == ("127.0.0.1", 0)
    assert [assistant.api_base for assistant in config.assistants] == ["http://127.0.0.1:8090"]
    assert config.state.url == "memory:"
    assert (config.record.mode, config.record.dir) == ("all", str(tmp_path / 'a "b"'))


def test_the_secrets_are_others_each_time_and_never_shown() -> None:
    one, other = Credentials(), Credentials()

    secrets = {one.auth_token, one.vapi_key, other.auth_token, other.vapi_key}
    assert len(secrets) == 4
    assert not any(secret in repr(one) for secret in secrets)
    assert one.environ() == {"TWILIO_AUTH_TOKEN": one.auth_token, "VAPI_API_KEY": one.vapi_key}
