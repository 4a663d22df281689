"""Records of calls for tests."""

import time

from relay.state.record import CallRecord


def record(sid: str = "CA1", **values: object) -> CallRecord:
    now = round(time.time(), 3)
    known = {"call_sid": sid, "call_id": "1", "assistant": "main", "started_at": now, "expires_at": now + 600}
    return CallRecord(**{**known, **values})  # type: ignore[arg-type]
