/**
 * The transcript: final lines in a log that screen readers follow, partial ones below it, for the eye only.
 * @module
 */

const LINES_MOST = 200;
const WHO = { user: "You", assistant: "Assistant" };

export class Transcript {
  /** @param {(id: string) => HTMLElement} element */
  constructor(element) {
    this.#lines = element("transcript");
    this.#empty = element("empty");
    this.#partials = { user: element("partial-user"), assistant: element("partial-assistant") };
  }

  #lines;
  #empty;
  #partials;

  clear() {
    this.#lines.replaceChildren();
    this.#empty.hidden = false;
    this.finish();
  }

  /** No partial line will become final any more. */
  finish() {
    this.#partials.user.textContent = this.#partials.assistant.textContent = "";
  }

  /** @param {"user" | "assistant"} role @param {string} text */
  showPartial(role, text) {
    this.#empty.hidden = true;
    this.#partials[role].textContent = text;
  }

  /** @param {"user" | "assistant"} role @param {string} text */
  add(role, text) {
    this.#partials[role].textContent = "";
    const who = document.createElement("span");
    who.className = "who";
    who.textContent = WHO[role];
    this.#append(role, who, text);
  }

  /** @param {string} text */
  note(text) {
    this.#append("note", text);
  }

  /** @param {string} kind @param {(Node | string)[]} content */
  #append(kind, ...content) {
    const line = document.createElement("li");
    line.className = kind;
    line.append(...content);
    const atEnd = this.#lines.scrollHeight - this.#lines.scrollTop - this.#lines.clientHeight < 40;
    this.#lines.append(line);
    if (this.#lines.childElementCount > LINES_MOST) this.#lines.firstElementChild?.remove();
    if (atEnd) this.#lines.scrollTop = this.#lines.scrollHeight;
    this.#empty.hidden = true;
  }
}
