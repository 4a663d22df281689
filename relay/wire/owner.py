"""Writes the process that has a call into the call's addresses and names, and reads it there.

Behind a load balancer each process has a name of its own, `server.instance`: its calls are its own, so whatever belongs
to one of them has to reach it. No table says who that is. The address does, for the balancer:

| what                                    | of process "1"                                              |
|-----------------------------------------|-------------------------------------------------------------|
| Twilio's requests behind the first one  | `/twilio/media/1`, `/twilio/resume/1`, `/twilio/status/1`    |
| what Vapi says of the assistant's call  | `/vapi/events/1`                                            |
| a browser's session                     | its id begins with "1.": `/client/1.ID`, `/client/1.ID/audio`|
| the token that attaches it again        | begins with that id, and so with "1."                       |

A session that another process takes over gets the name of that one: "2.ID".

Without a name addresses and names are as they are without this module.
"""

from relay.wire.webhook_auth import EVENTS_PATH

OWNED_PATHS = ("/twilio/media", "/twilio/resume", "/twilio/status", EVENTS_PATH)
_BEHIND_NAME = "."


def owned_path(path: str, owner: str) -> str:
    """Return the address of this endpoint at this process; `path` is one of OWNED_PATHS."""
    return f"{path}/{owner}" if owner else path


def split_path(path: str) -> tuple[str, str]:
    """Return the endpoint and the process in an address that `owned_path` has made; any other, and ""."""
    endpoint, _, owner = path.rpartition("/")
    return (endpoint, owner) if owner and endpoint in OWNED_PATHS else (path, "")


def owned_name(name: str, owner: str) -> str:
    """Return the name of a session, or a token, of this process."""
    return f"{owner}{_BEHIND_NAME}{name}" if owner else name


def name_behind(name: str) -> str:
    """Return the name behind that of the process, which stays the same when another process has taken it over."""
    return name.partition(_BEHIND_NAME)[2] if owner_of(name) else name


def owner_of(name: str) -> str:
    """Return the process in a name that `owned_name` has made; "" if there is none in it."""
    owner, behind, _ = name.partition(_BEHIND_NAME)
    return owner if behind else ""
