"""Keeps what was said and how much of it was heard: a new assistant call has to know it, or to get it again."""

from collections.abc import Callable, Iterable, Sequence

from relay.logic.assistant.conversation import Conversation, Turn
from relay.logic.assistant.replay import Rewind
from relay.logic.assistant.sentences import Sentences
from relay.logic.playback.frame import PlayFrame
from relay.media.frames import FRAME_MS
from relay.wakeup import current_time


class Dialogue:
    """One per call. The share of a turn's audible frames that were heard says how much of its text was.

    `unheard` below is how many audible frames wait here or are on their way to the caller. `earlier` is what was said
    while another process had the call. `answered` is called when the assistant begins to speak.
    """

    def __init__(
        self, sentences: Sentences, earlier: Iterable[Turn] = (), *, answered: Callable[[], None] = lambda: None
    ) -> None:
        self._sentences = sentences
        self._answered = answered
        self._conversation = Conversation(earlier)
        self._turn = 0
        self._announced = False
        self._arrived = 0
        self._cut: tuple[int, int] | None = None

    def user_said(self, text: str, *, final: bool) -> None:
        """A transcript of the caller."""
        self._sentences.transcript(final=final, now=current_time())
        if final:
            self._conversation.user_said(text)

    def assistant_said(self, text: str, *, final: bool) -> None:
        """A transcript of the assistant."""
        self._conversation.assistant_said(text, final=final)

    def announced(self) -> None:
        """The assistant says that it began to speak."""
        self._begin()
        self._announced = True

    def added(self, frames: Sequence[PlayFrame]) -> None:
        """These will be played behind all others."""
        for frame in frames:
            if not frame.audible:
                continue
            if frame.turn != self._turn:
                if not self._announced:
                    self._begin()
                self._turn, self._announced = frame.turn, False
            self._arrived += 1

    def cut(self, unheard: int) -> None:
        """The caller interrupted, and will not hear these; it may still be taken back."""
        self._cut = (max(0, self._arrived - unheard), self._arrived)

    def settled(self) -> None:
        """The interruption holds."""
        if self._cut is not None:
            heard, arrived = self._cut
            self._conversation.interrupted(heard * FRAME_MS, arrived * FRAME_MS)
        self._cut = None

    def taken_back(self, frames: Sequence[PlayFrame]) -> None:
        """There was no interruption: these are played first, most of them known from before."""
        heard = self._cut[0] if self._cut else 0
        audible = [frame for frame in frames if frame.audible]
        self._arrived = heard + len(audible)
        self._turn = audible[-1].turn if audible else self._turn
        self._cut = None

    def turns(self, unheard: int) -> tuple[Turn, ...]:
        """The conversation as the caller knows it now."""
        heard, arrived = self._cut or (max(0, self._arrived - unheard), self._arrived)
        return self._conversation.turns(heard * FRAME_MS, arrived * FRAME_MS)

    @property
    def has_begun(self) -> bool:
        """Whether anything was said, as far as can be known."""
        return bool(self._turn or self._conversation.turns(1, 1))

    @property
    def all_understood(self) -> bool:
        """Whether nothing that the caller said will be sent again."""
        return not self._sentences.unfinished

    @property
    def caller_speaks(self) -> bool:
        """Whether the caller is known to speak, to the ears of the assistant, who may hear it later."""
        return self._sentences.running

    def rewind(self) -> Rewind:
        """The connection is lost: the next one gets what the caller has said and may not have been understood."""
        return self._sentences.rewind(current_time())

    def _begin(self) -> None:
        self._conversation.assistant_began()
        self._sentences.assistant_spoke(current_time())
        self._answered()
        self._arrived = 0
