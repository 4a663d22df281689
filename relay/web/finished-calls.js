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
    const items = calls.map((call) => this.#item(call));
    element("finished").replaceChildren(...items);
    element("no-finished").hidden = calls.length > 0;
    let wanted = VERDICTS_MAX;
    for (const [index, { id, recorded }] of calls.entries()) {
      if (!recorded || wanted-- <= 0) continue;
      const verdict = await this.#verdict(api, id);
      if (round !== this.#round) return;
      setText(items[index], "verdict", verdict.join(" "));
    }
  }

  clear() {
    this.#round++;
    this.#verdicts.clear();
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

  /** @param {FinishedCall} call */
  #item({ id, ended_at, duration_s, end_reason, recorded }) {
    const item = copyOf("finished-item");
    const length = duration_s === null ? "" : ` after ${span(duration_s)}`;
    const reason = end_reason === null ? "" : `: ${REASONS[end_reason] ?? end_reason}`;
    setText(item, "id", shortId(id));
    /** @type {HTMLElement} */ (item.querySelector('[data-value="id"]')).title = id;
    setText(item, "ended", `ended ${TIME.format(new Date(ended_at))}${length}${reason}`);
    setText(item, "verdict", recorded ? (this.#verdicts.get(id)?.join(" ") ?? "…") : "Not recorded.");
    button(item, "timeline").onclick = () => this.#does.timeline(id);
    button(item, "timeline").setAttribute("aria-label", `Timeline of call ${shortId(id)}`);
    button(item, "erase").onclick = () => this.#does.erase(id);
    button(item, "erase").setAttribute("aria-label", `Erase the recording of call ${shortId(id)}`);
    /** @type {HTMLElement} */ (item.querySelector(".actions")).hidden = !recorded;
    return item;
  }
}
