"""Where secrets come from, and that none is ever shown."""

from pathlib import Path

import pytest

from relay.errors import ConfigError
from relay.secrets import Secrets, SecretSource

ALL = Secrets(
    twilio_auth_tokens=("old-token", "new-token"),
    twilio_shared_keys={"id": "shared-secret"},
    vapi_api_keys={"vapi": "vapi-key"},
    vapi_webhook_secrets=("webhook-secret",),
    events_secret="events-secret",
    admin_token="admin-token",
    client_key="client-key",
)


def test_no_way_of_printing_shows_a_value() -> None:
    for text in (repr(ALL), str(ALL), f"{ALL}", f"{ALL!r:>200}"):
        assert not any(value in text for value in ALL.values())


def test_values_are_all_secrets_that_are_set() -> None:
    assert ALL.values() == {
        "old-token",
        "new-token",
        "shared-secret",
        "vapi-key",
        "webhook-secret",
        "events-secret",
        "admin-token",
        "client-key",
    }
    assert Secrets().values() == frozenset()


def test_the_environment_comes_first_then_the_credential_then_the_file(tmp_path: Path) -> None:
    credentials = tmp_path / "credentials"
    credentials.mkdir()
    (credentials / "NAME").write_text("from-credential\n")
    file = tmp_path / "secret"
    file.write_text("from-file\r\n")
    environ = {"NAME": "from-environment", "CREDENTIALS_DIRECTORY": str(credentials)}

    assert SecretSource("c", environ).find("NAME", "k", str(file)) == "from-environment"
    del environ["NAME"]
    assert SecretSource("c", environ).find("NAME", "k", str(file)) == "from-credential"
    (credentials / "NAME").unlink()
    assert SecretSource("c", environ).find("NAME", "k", str(file)) == "from-file"
    assert SecretSource("c", environ).find("NAME", "k", "") is None


@pytest.mark.parametrize("value", ["", "   "])
def test_an_empty_variable_is_one_that_is_not_set(value: str) -> None:
    assert SecretSource("c", {"NAME": value}).find("NAME", "k", "") is None


def test_a_needed_secret_that_is_nowhere_is_named_with_the_reason_and_the_ways_to_give_it() -> None:
    with pytest.raises(
        ConfigError, match=r"^c: NAME is not set \(why\): .*environment.*credential.*admin\.token_file$"
    ):
        SecretSource("c", {}).need("NAME", "admin.token_file", "", "why")


@pytest.mark.parametrize("value", ["two words", "line\nline", "tab\tbed", "caf\u00e9"])
def test_a_secret_that_no_header_can_carry_is_refused_without_showing_it(tmp_path: Path, value: str) -> None:
    file = tmp_path / "secret"
    file.write_text(value)

    for source, secret_file in ((SecretSource("c", {"NAME": value}), ""), (SecretSource("c", {}), str(file))):
        with pytest.raises(ConfigError, match="one line of printable ASCII without spaces") as caught:
            source.find("NAME", "k", secret_file)
        assert value not in str(caught.value)
        assert str(caught.value).isprintable()


@pytest.mark.parametrize("content", [b"", b"\n", b"\xff\xfe"])
def test_a_secret_file_without_a_usable_secret_is_refused(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "secret"
    file.write_bytes(content)

    with pytest.raises(ConfigError, match=r"c: the file named by admin\.token_file must hold one line"):
        SecretSource("c", {}).find("NAME", "admin.token_file", str(file))


def test_a_secret_file_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="c: the file named by k cannot be read: No such file"):
        SecretSource("c", {}).find("NAME", "k", str(tmp_path / "none"))


def test_a_secret_written_where_its_file_belongs_is_refused_without_showing_it() -> None:
    with pytest.raises(ConfigError, match="c: k must be the absolute path") as caught:
        SecretSource("c", {}).find("NAME", "k", "s3cret")

    assert "s3cret" not in str(caught.value)
