"""Asks how a call at Vapi begins and ends: its address, its socket, gaps, unknown messages, `DELETE`."""

import trio

from relay.errors import LegLost
from relay.probe.finding import Answer
from relay.probe.vapi_account import LEAST_CALL_S, PropertyRefused, VapiAccount
from relay.wire import vapi, vapi_controls

ADDRESS_AGES_S = (5.0, 15.0, 30.0)
REDIAL_DELAYS_S = (0.2, 1.0, 5.0)
REDIAL_CALL_S = 20
CLOSED_CALL_S = 30
CLOSED_WATCH_S = 15.0
SHORT_CALL_S = 20
SHORT_WATCH_S = 5.0
GAP_CALL_S = 40
GAP_WATCH_S = 27.0
"""Below the 30 s after which an assistant ends a call in which nobody speaks, unless it is set otherwise."""
_POLL_S = 0.5


async def silence_timeout(account: VapiAccount) -> Answer:
    """Whether `assistantOverrides.silenceTimeoutSeconds` is accepted."""
    try:
        async with account.call(LEAST_CALL_S, silence_timeout_s=60):
            pass
    except PropertyRefused:
        return Answer(found="refused", keys={"vapi.send_silence_timeout": False})
    return Answer(found="accepted", keys={"vapi.send_silence_timeout": True})


async def address_age(account: VapiAccount) -> Answer:
    """For how long the address of a call that nobody has connected stays good."""
    good_s = 0.0
    for age_s in ADDRESS_AGES_S:
        async with account.call(LEAST_CALL_S) as created:
            await trio.sleep(age_s)
            try:
                async with account.talk(created):
                    good_s = age_s
            except LegLost as lost:
                refusal = f"not after {age_s:g} s ({_reason(lost)})"
                break
    else:
        return Answer(found=f"good after {good_s:g} s", note="none: the relay connects at once")
    if good_s:
        return Answer(found=f"good after {good_s:g} s, {refusal}", note="none: the relay connects at once")
    limit_s = ADDRESS_AGES_S[0] / 2
    if account.assistant.connect_timeout_s > limit_s:
        return Answer(found=refusal, keys={"vapi.connect_timeout_s": limit_s})
    return Answer(found=refusal, note="none: vapi.connect_timeout_s is short enough")


def _reason(lost: LegLost) -> str:
    """Why there was no socket, without the host."""
    return str(lost).partition(": ")[2]


async def redial(account: VapiAccount) -> Answer:
    """Whether the address takes another handshake after its socket broke off."""
    taken: list[str] = []
    refusals: set[str] = set()
    for delay_s in REDIAL_DELAYS_S:
        async with account.call(REDIAL_CALL_S) as created:
            async with account.talk(created) as line:
                await line.wait_begun()
                await line.break_off()
            await trio.sleep(delay_s)
            try:
                async with account.talk(created):
                    taken.append(f"{delay_s:g} s")
            except LegLost as lost:
                refusals.add(_reason(lost))
    found = f"taken after {', '.join(taken)}" if taken else f"refused each time ({', '.join(sorted(refusals))})"
    return Answer(found=found, note="none: the relay makes a new call, whatever the answer")


async def close_ends(account: VapiAccount) -> Answer:
    """Whether closing the socket ends the call, and how soon."""
    async with account.call(CLOSED_CALL_S) as created:
        async with account.talk(created) as line:
            await line.wait_begun()
            await line.say_goodbye()
        closed_s = trio.current_time()
        found = f"still going on {CLOSED_WATCH_S:g} s after the close"
        while trio.current_time() < closed_s + CLOSED_WATCH_S:
            _, live = await account.find(created.call_id)
            if live is not None and live.ended:
                found = f"over {trio.current_time() - closed_s:.1f} s after the close"
                break
            await trio.sleep(_POLL_S)
    return Answer(found=found, note="none: the relay sends end-call, whatever the answer")


async def farewell(account: VapiAccount) -> Answer:
    """What reaches the socket after `end-call`, before it is closed."""
    async with account.call(SHORT_CALL_S) as created, account.talk(created, "end-call") as line:
        await line.wait_begun()
        since_s = trio.current_time()
        await line.send(vapi_controls.end_call())
        await line.wait_for(line.closed.is_set, SHORT_WATCH_S)
        told = [
            f"status-update ended ({event.ended_reason or 'no reason'})"
            for event in line.told(vapi.StatusUpdate, since_s)
            if isinstance(event, vapi.StatusUpdate) and event.status == "ended"
        ]
        reports = [it for it in line.told(vapi.Other, since_s) if it == vapi.Other("end-of-call-report")]
        told += ["end-of-call-report"] * bool(reports)
        found = f"{' and '.join(told) or 'nothing'}, then {line.how_closed}"
    return Answer(found=found, note="none: a close without a reason ends the call, too")


async def unknown_message(account: VapiAccount) -> Answer:
    """What a text message of an unknown type does."""
    async with account.call(SHORT_CALL_S) as created, account.talk(created, "an unknown message") as line:
        await line.wait_begun()
        await line.send('{"type":"relay-probe"}')
        await line.wait_for(line.closed.is_set, SHORT_WATCH_S)
        found = line.how_closed if line.closed.is_set() else "ignored"
    return Answer(found=found, note="none: the relay sends known messages only")


async def uplink_gap(account: VapiAccount) -> Answer:
    """How long the caller's audio may pause in the middle of a call."""
    async with account.call(GAP_CALL_S) as created, account.talk(created, "a gap in the audio") as line:
        await line.wait_begun()
        since_s = trio.current_time()
        line.fall_silent()
        await line.wait_for(line.closed.is_set, GAP_WATCH_S)
        gap_s = min(GAP_WATCH_S, line.closed_s - since_s)
        ends = [it for it in line.told(vapi.StatusUpdate) if isinstance(it, vapi.StatusUpdate) and it.ended_reason]
        if not line.closed.is_set():
            found = f"open after {gap_s:g} s without audio"
        elif any(it.ended_reason == "silence-timed-out" for it in ends):
            found = f"open for {gap_s:.0f} s, until the assistant's own silence timeout"
        else:
            found = f"{line.how_closed} after {gap_s:.0f} s"
    return Answer(found=found, note="none: the relay sends silence in a gap")


async def delete(account: VapiAccount) -> Answer:
    """What `DELETE /call/{id}` does to a live call and to its record.

    Without a control URL the call could not be ended afterwards, and nothing is deleted.
    """
    async with account.call(SHORT_CALL_S) as created, account.talk(created, "DELETE") as line:
        if created.control_url is None:
            return Answer(found="not measured: Vapi names no control URL", note="ask again", failed=True)
        await line.wait_begun()
        status = await account.delete(created.call_id)
        await line.wait_for(line.closed.is_set, SHORT_WATCH_S)
        goes_on = "goes on" if not line.closed.is_set() else f"is {line.how_closed}"
        record, _ = await account.find(created.call_id)
    kept = "is gone" if record == 404 else "is still there"
    return Answer(
        found=f"answered {status}; the call {goes_on}; its record {kept}",
        note="none: the relay never sends it. The recording is not looked for: it is made after the end",
    )


async def close_codes(account: VapiAccount) -> Answer:
    """How the sockets of the calls before were closed. It places no call of its own."""
    closes = account.seen.closes
    if not closes:
        return Answer(found="not measured: no socket was closed by Vapi", note="ask again", failed=True)
    return Answer(
        found="; ".join(f"{what}: {how}" for what, how in closes.items()), note="none: every code ends a call"
    )
