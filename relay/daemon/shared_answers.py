"""Has a question of Vapi's answered once, though it may come to several processes at a time, by way of the store.

| state   | meaning                                    | leaves when                                  | deadline       |
|---------|--------------------------------------------|----------------------------------------------|----------------|
| claimed | this process asks the operator's endpoint  | it has the answer, which is kept for others  | that of asking |
| waiting | another process asks                       | its answer is there -> that                  | `answer_s`     |
|         |                                            | the store fails -> as without one            |                |
|         |                                            | the time is over -> None                     |                |
| alone   | there is no store, or it does not answer   | it has the answer, which nobody else gets    | that of asking |

A process that dies while it asks leaves its claim, which ends with the time that the others wait.
"""

from collections.abc import Awaitable, Callable

import trio

from relay.errors import StateUnavailable
from relay.state import StateStore

CLAIM_WAIT_S = 0.25
"""An assistant that waits for its tool does not wait longer for a store that does not answer."""
LOOK_EVERY_S = 0.1
KEPT_S = 180.0
"""Vapi's retries, as they are ordered here, end within three minutes."""


class SharedAnswers:
    """One for the daemon. `store` is None where no other process can be asked. `answer_s`: how long asking may take."""

    def __init__(self, store: StateStore | None, answer_s: float) -> None:
        self._store = store
        self._answer_s = answer_s

    async def once(self, question: str, ask: Callable[[], Awaitable[bytes]]) -> bytes | None:
        """Return what `ask` does, or has done in another process; None where that does not answer in time.

        Raises what `ask` raises. Cancelled, nothing is kept.
        """
        if not await self._is_mine(question):
            try:
                return await self.wait(question, self._answer_s)
            except StateUnavailable:
                return await ask()
        answer = await ask()
        await self._keep(question, answer)
        return answer

    async def wait(self, question: str, wait_s: float) -> bytes | None:
        """Return the answer that another process keeps; None without one in time. Raises StateUnavailable."""
        if self._store is None:
            return None
        with trio.move_on_after(wait_s):
            while (answer := await self._store.answer_to(question)) is None:  # noqa: ASYNC110 - another process keeps it
                await trio.sleep(LOOK_EVERY_S)
            return answer
        return None

    async def _is_mine(self, question: str) -> bool:
        """True also where the store does not say so in time: rather ask twice than not at all."""
        if self._store is None or self._store.failing:
            return True
        with trio.move_on_after(CLAIM_WAIT_S):
            try:
                return await self._store.claim_question(question, self._answer_s)
            except StateUnavailable:
                return True
        return True

    async def _keep(self, question: str, answer: bytes) -> None:
        if self._store is None or self._store.failing:
            return
        with trio.move_on_after(CLAIM_WAIT_S):
            try:
                await self._store.keep_answer(question, answer, KEPT_S)
            except StateUnavailable:
                return
