/**
 * Fills the lists of the page: the verdict, the worst moments, the answers, and the events of the stretch that is shown.
 * @module
 */

import { clock } from "./view.js";

const EVENTS_MAX = 250;

/**
 * @typedef {import("./call.js").RecordedCall} RecordedCall
 * @typedef {import("./view.js").View} View
 */

/** @param {string} id */
export function byId(id) {
  return /** @type {HTMLElement} */ (document.getElementById(id));
}

/**
 * @param {string} tag
 * @param {string} text
 * @param {string} className
 */
function element(tag, text = "", className = "") {
  const made = document.createElement(tag);
  made.textContent = text;
  made.className = className;
  return made;
}

/**
 * A button that shows a moment.
 * @param {string} text
 * @param {() => void} show
 */
function jumpTo(text, show) {
  const button = element("button", text, "jump");
  button.setAttribute("type", "button");
  button.addEventListener("click", show);
  return button;
}

/** @param {RecordedCall} call @param {View} view */
export function fillVerdict(call, view) {
  const { verdict, worst, id, sid, started_at: startedAt, is_live: isLive } = call.data;
  const { moments } = call.lists;
  byId("about").textContent = `Call ${id}${sid ? ` (${sid})` : ""}, ${startedAt}${isLive ? ", still live" : ""}`;
  const items = moments.map((it) => {
    const item = element("li");
    item.append(jumpTo(it.sentence, () => view.jump(it.at)));
    return item;
  });
  byId("worst").replaceChildren(...items.slice(0, worst));
  byId("worst").hidden = !items.length;
  byId("more").replaceChildren(...items.slice(worst));
  byId("more-title").textContent = `${items.length - worst} more`;
  byId("more-moments").hidden = items.length <= worst;
  const bad = new Set(moments.map(({ sentence }) => sentence));
  const rest = verdict.filter((sentence) => !bad.has(sentence));
  byId("verdict").replaceChildren(...rest.map((sentence) => element("p", sentence)));
}

/** @param {RecordedCall} call @param {View} view */
export function fillAnswers(call, view) {
  const { answers } = call.lists;
  const longest = Math.max(1, ...answers.map((it) => it.caller_stopped_to_assistant_heard));
  byId("answers-none").hidden = answers.length > 0;
  byId("answers-table").hidden = !answers.length;
  byId("answers").replaceChildren(
    ...answers.map((it) => {
      const row = element("tr");
      const at = element("th");
      at.setAttribute("scope", "row");
      at.append(jumpTo(clock(it.at), () => view.jump(it.at, it.to)));
      const bar = element("td", "", "bar");
      for (const [name, ms] of /** @type {[string, number][]} */ ([
        ["assistant", it.assistant],
        ["ours", it.ours],
        ["network", it.network ?? 0],
      ])) {
        const part = element("span", "", name);
        part.style.width = `${(ms / longest) * 100}%`;
        bar.append(part);
      }
      const cells = [it.caller_stopped_to_assistant_heard, it.assistant, it.ours, it.network ?? "–"];
      row.append(at, ...cells.map((cell) => element("td", String(cell))), bar);
      return row;
    }),
  );
}

/** @param {RecordedCall} call @param {View} view */
export function fillEvents(call, view) {
  const { events } = call.lists;
  const first = events.findIndex(({ at }) => at >= view.fromMs);
  const behind = events.findIndex(({ at }) => at > view.toMs);
  const end = behind < 0 ? events.length : behind;
  const begin = first < 0 ? end : first;
  const shown = events.slice(begin, Math.min(end, begin + EVENTS_MAX));
  byId("events").replaceChildren(
    ...shown.map((it, number) => {
      const row = element("tr");
      const at = element("th");
      at.setAttribute("scope", "row");
      at.append(jumpTo(clock(it.at, 3), () => view.moveCursor(it.at)));
      const before = events[begin + number - 1];
      const since = before ? `+${Math.round(it.at - before.at)}` : "";
      row.append(at, element("td", since, "number"), element("td", it.name, "name"), element("td", it.values, "values"));
      return row;
    }),
  );
  const more = end - begin - shown.length;
  byId("events-more").textContent = more ? `${more} more in this stretch: zoom in to see them.` : "";
}
