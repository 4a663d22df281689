"""The assistant wants to leave: it transfers the caller to somebody else, or hangs up.

| state    | meaning                                | leaves when                                 | deadline           |
|----------|----------------------------------------|---------------------------------------------|--------------------|
| staying  | it has asked for nothing, or for what  | it asks to hang up, or for a destination    | those of the call  |
|          | it may not have: then it is told so    | that `transfer.allow` has -> leaving        |                    |
| leaving  | what it still says is played           | the caller has heard all, and nothing has   | `FAREWELL_MAX_S`   |
|          |                                        | followed for `QUIET_S` -> left              |                    |
|          |                                        | the caller interrupts: the same, as nothing |                    |
|          |                                        | is left to hear; the assistant may answer   |                    |
|          |                                        | its socket ends or is lost, which is not    | `play_out_max_s`   |
|          |                                        | repaired any more: what is queued is played |                    |
|          |                                        | -> left                                     |                    |
|          |                                        | Twilio asks how to go on, as the caller's   |                    |
|          |                                        | stream broke off -> left                    |                    |
| left     | the call ends; `/twilio/resume` gets   | the transfer is answered, or nobody answers:| `answer_timeout_s` |
|          | `<Dial>` or `<Hangup/>`                | see `relay.daemon.twilio_hooks`             |                    |

The first thing that it asks for is done. It asks by several messages at once, see `relay.wire.vapi_actions`.
"""

import trio

from relay.call.assistant.outgoing import Outgoing
from relay.call.playback.playback import LOOK_AGAIN_MS, Playback
from relay.call.report.assistant_events import HangUpAsked, TransferAccepted, TransferRefused
from relay.call.report.report import Report
from relay.config import TransferConfig
from relay.logic.end_reason import EndReason
from relay.wakeup import Signal, deadline, sleep_until
from relay.wire.dial_address import allowing
from relay.wire.vapi_actions import Action, HangUp, Transfer
from relay.wire.vapi_controls import add_message

FAREWELL_MAX_S = 30.0
"""How long an assistant may still speak once it has asked to leave."""
QUIET_S = 1.5
"""It has said its last word when nothing followed for so long; and if nothing begins so soon, it says nothing."""
SAME_S = 10.0
"""A destination that is asked for again within this time is the same request by another message."""


class Departure:
    """One per call. `telephone`: the caller has one, and can be connected to another."""

    def __init__(
        self,
        rules: TransferConfig,
        outgoing: Outgoing,
        playback: Playback,
        report: Report,
        *,
        telephone: bool,
    ) -> None:
        self._rules = rules
        self._outgoing = outgoing
        self._playback = playback
        self._report = report
        self._telephone = telephone
        self._action: Action | None = None
        self._asked_at = 0.0
        self._refused: tuple[Transfer, float] | None = None
        self._news = Signal()

    @property
    def end_reason(self) -> EndReason | None:
        """Why the call ends, if the assistant leaves."""
        match self._action:
            case Transfer():
                return EndReason.TRANSFERRED
            case HangUp():
                return EndReason.ASSISTANT_ENDED
        return None

    @property
    def transfer_to(self) -> str | None:
        """To whom the caller is to be connected, if to anybody."""
        return self._action.destination if isinstance(self._action, Transfer) else None

    def ask(self, action: Action) -> str | None:
        """The assistant asks for this. Returns why it is refused; None: it is done."""
        now = trio.current_time()
        if self._action is not None:
            return None
        if isinstance(action, Transfer) and (problem := self._problem(action)):
            code, why = problem
            self._refuse(action, code, why, now)
            return why
        self._action, self._asked_at = action, now
        if isinstance(action, Transfer):
            self._report.tell(TransferAccepted(allowing(action.destination, self._rules.allow) or ""))
        else:
            self._report.tell(HangUpAsked())
        self._news.fire()
        return None

    def _problem(self, asked: Transfer) -> tuple[str, str] | None:
        if not self._telephone:
            return "TRANSFER_NO_TELEPHONE", "the caller has no telephone, and cannot be connected to one"
        if allowing(asked.destination, self._rules.allow) is None:
            return "TRANSFER_NOT_ALLOWED", "callers may not be connected to this destination"
        return None

    def _refuse(self, asked: Transfer, code: str, why: str, now: float) -> None:
        if self._refused is not None and self._refused[0] == asked and now - self._refused[1] < SAME_S:
            return
        self._refused = asked, now
        self._report.tell(TransferRefused(code=code, error=why))
        self._outgoing.send_note(
            add_message("system", f"[The transfer did not take place: {why}.]", trigger_response=True)
        )

    async def run(self) -> EndReason:
        """Return when the assistant has left, and the caller has heard what it said; why the call ends."""
        while (reason := self.end_reason) is None:
            await self._news.wait()
        with deadline("farewell", self._asked_at + FAREWELL_MAX_S):
            while (quiet_at := self._quiet_at()) > trio.current_time():
                await sleep_until(quiet_at, "last_word_said")
            await self._playback.play_out()
        return reason

    def _quiet_at(self) -> float:
        if self._playback.audible:
            return trio.current_time() + LOOK_AGAIN_MS / 1000
        return max(self._asked_at, self._playback.speaker.last_audible_at) + QUIET_S
