"""Finds the secrets of the daemon in the only places that they may come from.

The first of these that has the secret wins: the environment variable NAME, the systemd credential
$CREDENTIALS_DIRECTORY/NAME (systemd.exec, "Credentials"), the file that a `..._file` key of the configuration names.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relay.errors import ConfigError


@dataclass(frozen=True, slots=True, repr=False)
class Secrets:
    """Holds every secret that the configuration gives. Its repr and str never show a value."""

    twilio_auth_tokens: tuple[str, ...] = ()
    """More than one while the token is being rotated; a signature by any of them is good."""
    twilio_shared_keys: Mapping[str, str] = field(default_factory=dict)
    """Key id to secret, for signatures with a shared key."""
    vapi_api_keys: Mapping[str, str] = field(default_factory=dict)
    """Assistant name to private key."""
    vapi_webhook_secret: str | None = None
    admin_token: str | None = None
    client_key: str | None = None
    redis_password: str | None = None
    record_keys: tuple[str, ...] = ()
    """As `relay.record.keys` reads them. The last one seals; all of them open."""

    def values(self) -> frozenset[str]:
        """Return every value that must never be seen in a log."""
        single = (self.vapi_webhook_secret, self.admin_token, self.client_key, self.redis_password)
        keys = (*self.twilio_shared_keys.values(), *self.vapi_api_keys.values(), *self.record_keys)
        return frozenset(value for value in (*single, *self.twilio_auth_tokens, *keys) if value)

    def __repr__(self) -> str:
        return "Secrets(***)"


@dataclass(frozen=True, slots=True)
class SecretSource:
    """Looks secrets up. `file` is the configuration file, for error texts."""

    file: str
    environ: Mapping[str, str]

    def find(self, name: str, file_key: str, secret_file: str) -> str | None:
        """Return the value of secret `name`, None when it is nowhere.

        Args:
            name: of the environment variable and of the systemd credential.
            file_key: the configuration key that may name a file, for error texts.
            secret_file: the value of that key, empty when it is not set.

        Raises:
            ConfigError: the secret is there but cannot be used. The text never holds any part of it.
        """
        if value := self.environ.get(name, "").strip():
            return self._checked(value, f"environment variable {name}")
        directory = self.environ.get("CREDENTIALS_DIRECTORY")
        if directory and (credential := Path(directory, name)).exists():
            return self._read(credential, f"systemd credential {name}")
        if secret_file:
            if not secret_file.startswith("/"):
                raise ConfigError(f"{self.file}: {file_key} must be the absolute path of a file that holds the secret")
            return self._read(Path(secret_file), f"file named by {file_key}")
        return None

    def need(self, name: str, file_key: str, secret_file: str, reason: str) -> str:
        """Do as `find` does, but raise ConfigError for a secret that is nowhere. `reason` says why it is needed."""
        value = self.find(name, file_key, secret_file)
        if value is None:
            raise ConfigError(
                f"{self.file}: {name} is not set ({reason}): give it in the environment, "
                f"as a systemd credential of that name, or in a file named by {file_key}"
            )
        return value

    def _read(self, path: Path, what: str) -> str:
        try:
            return self._checked(path.read_bytes().decode("ascii").strip(), what)
        except OSError as error:
            raise ConfigError(f"{self.file}: the {what} cannot be read: {error.strerror}") from None
        except ValueError:
            raise self._unusable(what) from None

    def _checked(self, value: str, what: str) -> str:
        if not value or not all("!" <= character <= "~" for character in value):
            raise self._unusable(what)
        return value

    def _unusable(self, what: str) -> ConfigError:
        return ConfigError(f"{self.file}: the {what} must hold one line of printable ASCII without spaces")
