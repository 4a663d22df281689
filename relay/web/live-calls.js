/**
 * The table of the calls that run: a row stays the same element as long as its call does, so the focus stays too.
 * @module
 */

import { button, copyOf, element, setText, shortId, span } from "./admin-parts.js";

/** @import { LiveCall } from "./admin-api.js" */

const QUIETEST_DB = -60;

/** @param {LiveCall} call @param {boolean} speaks @param {number | null} dbfs */
function levelText(call, speaks, dbfs) {
  if (!call.caller_attached || dbfs === null) return "–";
  return speaks ? `${Math.round(dbfs)} dB, speaks` : `${Math.round(dbfs)} dB`;
}

export class LiveCalls {
  /** @type {Map<string, HTMLElement>} */
  #rows = new Map();
  #does;

  /** @param {{timeline: (id: string) => void, hangUp: (id: string) => void}} does what the buttons of a row do */
  constructor(does) {
    this.#does = does;
  }

  /** Returns whether a call that was shown is over. @param {LiveCall[]} calls */
  show(calls) {
    const ids = new Set(calls.map(({ id }) => id));
    const over = [...this.#rows.keys()].filter((id) => !ids.has(id));
    for (const id of over) this.#remove(id);
    for (const call of calls) this.#fill(this.#rows.get(call.id) ?? this.#add(call), call);
    element("no-calls").hidden = calls.length > 0;
    element("live").hidden = calls.length === 0;
    element("live").classList.remove("stale");
    return over.length > 0;
  }

  /** What is shown is not of this moment any more. */
  markStale() {
    element("live").classList.add("stale");
  }

  clear() {
    this.#rows.clear();
    element("live-rows").replaceChildren();
    element("live").hidden = true;
    element("no-calls").hidden = true;
  }

  /** @param {LiveCall} call */
  #add({ id, call_sid }) {
    const row = copyOf("live-row");
    setText(row, "id", shortId(id));
    /** @type {HTMLElement} */ (row.querySelector('[data-value="id"]')).title = `${id}, ${call_sid}`;
    button(row, "timeline").onclick = () => this.#does.timeline(id);
    button(row, "timeline").setAttribute("aria-label", `Timeline of call ${shortId(id)}`);
    button(row, "hang-up").onclick = () => this.#does.hangUp(id);
    button(row, "hang-up").setAttribute("aria-label", `Hang up call ${shortId(id)}`);
    this.#rows.set(id, row);
    element("live-rows").append(row);
    return row;
  }

  /** The focus does not get lost with its row. @param {string} id */
  #remove(id) {
    const row = /** @type {HTMLElement} */ (this.#rows.get(id));
    const next = /** @type {HTMLElement | null} */ (row.nextElementSibling ?? row.previousElementSibling);
    if (row.contains(document.activeElement)) (next ? button(next, "hang-up") : element("refresh")).focus();
    row.remove();
    this.#rows.delete(id);
  }

  /** @param {HTMLElement} row @param {LiveCall} call */
  #fill(row, call) {
    const state = call.caller_attached || call.state === null ? (call.state ?? "dialling") : "no caller";
    const reconnects = Object.values(call.reconnects).reduce((sum, count) => sum + count, 0);
    setText(row, "age", span(call.duration_s));
    setText(row, "state", state);
    /** @type {HTMLElement} */ (row.querySelector(".state")).dataset.state = state;
    setText(row, "turn", String(call.turn));
    setText(row, "caller", levelText(call, call.caller_speaking, call.caller_dbfs));
    setText(row, "assistant", levelText(call, call.assistant_speaking, call.assistant_dbfs));
    setText(row, "buffer", `${call.queued_ms} / ${call.target_ms} ms`);
    setText(row, "reconnects", String(reconnects));
    setText(row, "interruptions", String(call.interruptions_confirmed));
    const [caller, assistant] = row.querySelectorAll(".meter");
    showLevel(/** @type {HTMLElement} */ (caller), call.caller_dbfs);
    showLevel(/** @type {HTMLElement} */ (assistant), call.assistant_dbfs);
    button(row, "timeline").hidden = !call.recorded;
  }
}

/** @param {HTMLElement} meter @param {number | null} dbfs */
function showLevel(meter, dbfs) {
  const level = Math.min(0, Math.max(QUIETEST_DB, dbfs ?? QUIETEST_DB));
  meter.setAttribute("aria-valuenow", String(Math.round(level)));
  /** @type {HTMLElement} */ (meter.firstElementChild).style.transform = `scaleX(${1 - level / QUIETEST_DB})`;
}
