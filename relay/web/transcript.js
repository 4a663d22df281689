/**
 * The transcript: final lines in a log that screen readers follow, partial ones below it, for the eye only. What an
 * interruption kept the user from hearing is struck through, and noted under its sentence.
 * @module
 */

const LINES_MOST = 200;
const WHO = { user: "You", assistant: "Assistant" };
/** Hardly a voice is faster. The text may be here long before its sound, so that the share of the sound says too much. */
const CHARACTERS_PER_S_MOST = 20;

/** @typedef {import("./wire.js").Role} Role */
/** @typedef {{element: HTMLLIElement, text: string, isFinal: boolean}} Line */
/** @typedef {{passage: Line[], heardMs: number, flushedMs: number, note: HTMLElement}} Cut */

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
  /** What the assistant has said in its present turn, or in the last one. @type {Line[]} */
  #passage = [];
  /** The interruption of that turn. @type {Cut | null} */
  #cut = null;
  /** The last interruption, which may still turn out to be none, whatever was said since. @type {Cut | null} */
  #lastCut = null;
  /** What was heard of that turn before an interruption of it that was none. */
  #heardBeforeMs = 0;
  /** Whether the assistant speaks, or null where that is not told. @type {boolean | null} */
  #assistantSpeaks = null;

  clear() {
    this.#lines.replaceChildren();
    this.#empty.hidden = false;
    this.#beginPassage();
    this.#lastCut = null;
    this.#assistantSpeaks = null;
    this.finish();
  }

  /** No partial line will become final any more. */
  finish() {
    this.#partials.user.textContent = this.#partials.assistant.textContent = "";
  }

  /** @param {Role} role @param {"started" | "stopped"} status */
  markSpeech(role, status) {
    if (role !== "assistant") return;
    this.#assistantSpeaks = status === "started";
    if (this.#assistantSpeaks) this.#beginPassage();
  }

  /** @param {Role} role @param {string} text */
  showPartial(role, text) {
    if (role === "assistant" && this.#passage.at(-1)?.isFinal === false) return; // of the sentence that was cut
    this.#empty.hidden = true;
    this.#partials[role].textContent = text;
  }

  /** @param {Role} role @param {string} text */
  add(role, text) {
    this.#partials[role].textContent = "";
    if (role === "user") {
      this.#append("user", who(role), text);
      if (this.#assistantSpeaks === null) this.#beginPassage();
    } else {
      this.#addToPassage(text, true);
    }
  }

  /**
   * The user interrupted the assistant's present turn.
   * @param {number} heardMs what was played of it
   * @param {number} flushedMs what was thrown away
   */
  cut(heardMs, flushedMs) {
    const partial = this.#partials.assistant.textContent;
    this.#partials.assistant.textContent = "";
    if (partial) this.#addToPassage(partial, false);
    const passage = this.#passage;
    const note = document.createElement("span");
    this.#cut = this.#lastCut = { passage, heardMs: this.#heardBeforeMs + heardMs, flushedMs, note };
    if (this.#passage.length) this.#showCut(this.#cut);
    else this.#append("note", this.#cut.note, noteOf(this.#cut, false));
  }

  /** It was no interruption: what was thrown away is played after all. */
  takeBackCut() {
    const cut = this.#lastCut;
    if (!cut) return;
    for (const { element, text } of cut.passage) element.replaceChildren(who("assistant"), text);
    cut.note.closest(".note")?.remove();
    if (cut === this.#cut) {
      this.#heardBeforeMs = cut.heardMs;
      this.#cut = null;
    }
    this.#lastCut = null;
  }

  /** @param {string} text */
  note(text) {
    this.#append("note", text);
  }

  #beginPassage() {
    this.#passage = [];
    this.#cut = null;
    this.#heardBeforeMs = 0;
  }

  /** @param {string} text @param {boolean} isFinal */
  #addToPassage(text, isFinal) {
    const last = this.#passage.at(-1);
    if (last?.isFinal === false) {
      Object.assign(last, { text, isFinal });
    } else {
      this.#passage.push({ element: this.#append("assistant", who("assistant"), text), text, isFinal });
    }
    if (this.#cut) this.#showCut(this.#cut);
  }

  /** @param {Cut} cut */
  #showCut(cut) {
    cut.note.closest(".note")?.remove();
    const total = this.#passage.reduce((sum, { text }) => sum + text.length, 0);
    let left = heardCharacters(total, cut.heardMs, cut.flushedMs);
    let isNoted = false;
    for (const [index, { element, text }] of this.#passage.entries()) {
      const heard = wholeWords(text, left);
      left -= text.length;
      const unheard = document.createElement("s");
      unheard.textContent = text.slice(heard.length);
      element.replaceChildren(who("assistant"), heard, ...(unheard.textContent ? [unheard] : []));
      if (isNoted || (heard === text && index < this.#passage.length - 1)) continue;
      cut.note.className = "cut";
      cut.note.textContent = noteOf(cut, heard !== text);
      element.append(cut.note);
      isNoted = true;
    }
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
    return line;
  }
}

/** @param {Role} role */
function who(role) {
  const name = document.createElement("span");
  name.className = "who";
  name.textContent = WHO[role];
  return name;
}

/** @param {Cut} cut @param {boolean} hasUnheard */
function noteOf({ flushedMs }, hasUnheard) {
  const marked = hasUnheard ? " What is struck through was not heard." : "";
  return `Interrupted: ${Math.round(flushedMs)} ms of the answer thrown away.${marked}`;
}

/**
 * How many of a turn's `total` characters were heard, going by its sound.
 * @param {number} total
 * @param {number} heardMs
 * @param {number} flushedMs
 */
function heardCharacters(total, heardMs, flushedMs) {
  if (heardMs <= 0) return 0;
  return Math.min((total * heardMs) / (heardMs + flushedMs), (heardMs / 1000) * CHARACTERS_PER_S_MOST);
}

/**
 * The beginning of `text` in whole words, as any language separates them: at most `characters`, and the space behind.
 * @param {string} text
 * @param {number} characters
 */
export function wholeWords(text, characters) {
  if (characters >= text.length) return text;
  let end = 0;
  for (const { index, segment } of new Intl.Segmenter(undefined, { granularity: "word" }).segment(text)) {
    if (index + segment.length > characters && segment.trim()) break;
    end = index + segment.length;
  }
  return text.slice(0, end);
}
