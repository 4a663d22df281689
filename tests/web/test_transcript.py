"""The transcript of the page: what an interruption kept the user from hearing is marked in its sentence."""

from typing import Any

from selenium import webdriver

from tests.support.browser_peer import BrowserPeer
from tests.support.peers import serving
from tests.support.webpage import Page

_RIG = """
const { Transcript, wholeWords } = await import("/web/transcript.js");
const elements = {};
const transcript = new Transcript((id) => (elements[id] ??= document.createElement("ol")));
/** Each line as its kind and text: what is struck through in [], what is noted under it behind a |. */
const lines = () => [...elements.transcript.children].map((line) => {
  const text = [...line.childNodes].map((node) => {
    if (node.className === "who") return "";
    if (node.nodeName === "S") return `[${node.textContent}]`;
    return (node.className === "cut" ? "|" : "") + node.textContent;
  });
  return `${line.className}: ${text.join("")}`;
});
"""
_CUT = "|Interrupted: 500 ms of the answer thrown away."
_MARKED = f"{_CUT} What is struck through was not heard."

CASES: dict[str, tuple[str, Any]] = {
    "the words behind the interruption are struck through, and it is noted under their sentence": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "One two.");
        transcript.add("assistant", "Three four.");
        transcript.cut(1500, 500);
        transcript.add("user", "Stop.");
        return lines();
        """,
        ["assistant: One two.", f"assistant: Three [four.]{_MARKED}", "user: Stop."],
    ),
    "a sentence of which nothing was heard is struck through whole": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "One two.");
        transcript.add("assistant", "Three.");
        transcript.cut(300, 500);
        return lines();
        """,
        [f"assistant: One [two.]{_MARKED}", "assistant: [Three.]"],
    ),
    "text that is far ahead of its sound does not count as heard": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "a ".repeat(200));
        transcript.cut(1000, 500);
        return lines()[0].indexOf("[") - "assistant: ".length;
        """,
        20,
    ),
    "a sentence that was not yet final stands as it is, and its final text takes its place": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.showPartial("assistant", "One two");
        transcript.cut(500, 500);
        const before = lines();
        transcript.markSpeech("assistant", "stopped");
        transcript.add("user", "Stop.");
        transcript.showPartial("assistant", "One two three");
        transcript.add("assistant", "One two three four.");
        return [before, lines(), elements["partial-assistant"].textContent];
        """,
        [
            [f"assistant: One [two]{_MARKED}"],
            [f"assistant: One two [three four.]{_MARKED}", "user: Stop."],
            "",
        ],
    ),
    "an interruption that comes before any text is noted, and moves under the text": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.cut(500, 500);
        const before = lines();
        transcript.add("assistant", "One two.");
        return [before, lines()];
        """,
        [[f"note: {_CUT[1:]}"], [f"assistant: One [two.]{_MARKED}"]],
    ),
    "what the assistant says next is not marked": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "One two.");
        transcript.cut(500, 500);
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "Three.");
        return lines()[1];
        """,
        "assistant: Three.",
    ),
    "nor is it where nobody tells who speaks": (
        """
        transcript.add("assistant", "One two.");
        transcript.cut(500, 500);
        transcript.add("user", "Stop.");
        transcript.add("assistant", "Three.");
        return lines()[2];
        """,
        "assistant: Three.",
    ),
    "an interruption that was none leaves no trace, and what was heard before it counts": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "One two three four.");
        transcript.cut(500, 500);
        transcript.takeBackCut();
        const after = lines();
        transcript.cut(500, 500);
        return [after, lines()];
        """,
        [["assistant: One two three four."], [f"assistant: One two [three four.]{_MARKED}"]],
    ),
    "so it is when the user is understood first, where nobody tells who speaks": (
        """
        transcript.add("assistant", "One two.");
        transcript.cut(500, 500);
        transcript.add("user", "Mhm.");
        transcript.takeBackCut();
        return lines();
        """,
        ["assistant: One two.", "user: Mhm."],
    ),
    "and when the assistant has begun anew, whose words then are whole": (
        """
        transcript.markSpeech("assistant", "started");
        transcript.cut(500, 500);
        transcript.markSpeech("assistant", "started");
        transcript.add("assistant", "One two.");
        transcript.takeBackCut();
        transcript.cut(500, 500);
        return lines();
        """,
        [f"assistant: One [two.]{_MARKED}"],
    ),
    "words are kept whole in languages that put no spaces between them": (
        "return [wholeWords('one two', 6), wholeWords('こんにちは世界', 6), wholeWords('one', 9)]",
        ["one ", "こんにちは", "one"],
    ),
}


async def test_transcript(chromium: webdriver.Chrome) -> None:
    """Every case, named by what it guarantees, in one loaded page."""
    page = Page(chromium)
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        found = {name: await page.module(_RIG + body) for name, (body, _) in CASES.items()}

    assert found == {name: wanted for name, (_, wanted) in CASES.items()}
