"""What calls need to go on in another process: the record of a call, and where it is kept."""

from relay.state.opening import open_store
from relay.state.record import CallRecord, KeptToken
from relay.state.store import StateStore
from relay.state.write_behind import WriteBehind

__all__ = ["CallRecord", "KeptToken", "StateStore", "WriteBehind", "open_store"]
