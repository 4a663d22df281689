"""The daemon of the demo is configured as in production, with addresses and secrets made up for one call."""

import json
import secrets
from dataclasses import dataclass, field
from pathlib import Path

PUBLIC_URL = "https://relay.demo.invalid"
"""What Twilio would sign; the telephone dials the daemon where it really listens."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """The two secrets of a relay, random for each run."""

    auth_token: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)
    vapi_key: str = field(default_factory=lambda: secrets.token_hex(16), repr=False)

    def environ(self) -> dict[str, str]:
        """The variables in which the daemon looks for them."""
        return {"TWILIO_AUTH_TOKEN": self.auth_token, "VAPI_API_KEY": self.vapi_key}


def config_toml(assistant_url: str, recordings: Path) -> str:
    """The configuration file; everything that is not written here has its default. `recordings` is a folder."""
    return f"""\
[server]
host = "127.0.0.1"
port = 0
public_url = "{PUBLIC_URL}"
drain_timeout_s = 1.0

[twilio]
validate_signatures = true

[vapi]
api_base = "{assistant_url}"
assistant_id = "demo"

[state]
url = "memory:"

[record]
mode = "all"
dir = {json.dumps(str(recordings))}
"""
