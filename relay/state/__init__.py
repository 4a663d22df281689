"""Keeps a record of each call outside the process, so that another process can go on with the call."""

from relay.state.opening import open_store
from relay.state.record import CallRecord, KeptToken
from relay.state.store import StateStore
from relay.state.write_behind import OnTaken, WriteBehind

__all__ = ["CallRecord", "KeptToken", "OnTaken", "StateStore", "WriteBehind", "open_store"]
