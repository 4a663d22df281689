/**
 * The list of the calls that are over, with what the recorder says of those that were recorded.
 * @module
 */

import { button, copyOf, element, setText, shortId, span } from "./admin-parts.js";

/** @import { AdminApi, FinishedCall } from "./admin-api.js" */

/** Each takes the relay a second of a processor. */
const VERDICTS_MAX = 20;

/** @type {Record<string, string>} */
const REASONS = {
  caller_hangup: "the caller hung up",
  assistant_ended: "the assistant ended it",
  transferred: "connected to somebody else",
  idle: "nobody spoke any more",
  max_duration: "it reached its greatest length",
  caller_lost: "the caller was lost",
  protocol_error: "the caller's side sent nonsense",
  assistant_unavailable: "no assistant could be had",
  admin: "an operator hung up",
  drain: "the relay was stopped",
  error: "the relay failed on it",
};

const TIME = new Intl.DateTimeFormat(undefined, { dateStyle: "short", timeStyle: "medium" });

export class FinishedCalls {
  /** Each stays the same element, so the focus stays too. @type {Map<string, HTMLElement>} */
  #items = new Map();
  /** @type {Map<string, string[]>} */
  #verdicts = new Map();
  #round = 0;
  #does;

  /** @param {{timeline: (id: string) => void, erase: (id: string) => void}} does what the buttons of a call do */
  constructor(does) {
    this.#does = does;
  }

  /** Throws an AdminError. @param {AdminApi} api */
  async load(api) {
    const round = ++this.#round;
    const { calls } = await api.finished();
    if (round !== this.#round) return;
    this.#show(calls);
    for (const { id } of calls.filter(({ recorded }) => recorded).slice(0, VERDICTS_MAX)) {
      const verdict = await this.#verdict(api, id);
      const item = this.#items.get(id);
      if (round !== this.#round || item === undefined) return;
      setText(item, "verdict", verdict.join(" "));
    }
  }

  clear() {
    this.#round++;
    this.#verdicts.clear();
    this.#items.clear();
    element("finished").replaceChildren();
    element("no-finished").hidden = true;
  }

  /** @param {AdminApi} api @param {string} id */
  async #verdict(api, id) {
    let verdict = this.#verdicts.get(id);
    if (verdict === undefined) {
      try {
        ({ verdict } = await api.verdict(id));
        this.#verdicts.set(id, verdict);
      } catch (error) {
        verdict = [`No verdict: ${error instanceof Error ? error.message : String(error)}`];
      }
    }
    return verdict;
  }

  /** @param {FinishedCall[]} calls */
  #show(calls) {
    const list = element("finished");
    const ids = new Set(calls.map(({ id }) => id));
    for (const id of [...this.#items.keys()].filter((it) => !ids.has(it))) this.#remove(id);
    for (const [index, call] of calls.entries()) {
      const item = this.#items.get(call.id) ?? this.#add(call);
      if (list.children[index] !== item) list.insertBefore(item, list.children[index] ?? null);
      this.#fill(item, call);
    }
    element("no-finished").hidden = calls.length > 0;
  }

  /** @param {FinishedCall} call */
  #add({ id }) {
    const item = copyOf("finished-item");
    setText(item, "id", shortId(id));
    /** @type {HTMLElement} */ (item.querySelector('[data-value="id"]')).title = id;
    button(item, "timeline").onclick = () => this.#does.timeline(id);
    button(item, "timeline").setAttribute("aria-label", `Timeline of call ${shortId(id)}`);
    button(item, "erase").onclick = () => this.#does.erase(id);
    button(item, "erase").setAttribute("aria-label", `Erase the recording of call ${shortId(id)}`);
    this.#items.set(id, item);
    return item;
  }

  /** @param {string} id */
  #remove(id) {
    const item = /** @type {HTMLElement} */ (this.#items.get(id));
    if (item.contains(document.activeElement)) element("refresh").focus();
    item.remove();
    this.#items.delete(id);
  }

  /** @param {HTMLElement} item @param {FinishedCall} call */
  #fill(item, { id, ended_at, duration_s, end_reason, recorded }) {
    const length = duration_s === null ? "" : ` after ${span(duration_s)}`;
    const reason = end_reason === null ? "" : `: ${REASONS[end_reason] ?? end_reason}`;
    const actions = /** @type {HTMLElement} */ (item.querySelector(".actions"));
    setText(item, "ended", `ended ${TIME.format(new Date(ended_at))}${length}${reason}`);
    setText(item, "verdict", recorded ? (this.#verdicts.get(id)?.join(" ") ?? "…") : "Not recorded.");
    if (!recorded && actions.contains(document.activeElement)) element("refresh").focus();
    actions.hidden = !recorded;
  }
}
