/**
 * Draws the lanes of the timeline for one view: waves, speech, buffer, connections, answers.
 * @module
 */

import { HOLES } from "./call.js";
import { fitted, Pen } from "./pen.js";
import { clock } from "./view.js";

const AXIS = 22;
const GAP = 6;
const HEIGHTS = { caller: 108, speech: 50, heard: 118, buffer: 66, links: 36, answers: 34 };
/** The row of a lane's name, and of the words below the waves. */
const NAME = 17;
const WORDS = 17;
const STEPS_MS = [10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5];
const LABEL_PX = 84;
/** What a cut turned out to be that was none; a name beside it would say nothing of one that was settled. */
const OUTCOMES = /** @type {Record<string, string>} */ ({ "false alarm": ": a false alarm", agreement: ": only agreement" });
/** In a longer stretch there is no room for words beside a moment. */
const TAGS_MS = 90_000;

export const HEIGHT = AXIS + Object.values(HEIGHTS).reduce((sum, height) => sum + height + GAP, 0);

/**
 * @typedef {import("./call.js").RecordedCall} RecordedCall
 * @typedef {import("./call.js").Span} Span
 * @typedef {import("./view.js").View} View
 */

export class Lanes {
  /** @param {RecordedCall} call @param {View} view */
  constructor(call, view) {
    this.#call = call;
    this.#view = view;
    const { caller, heard } = call.waves;
    const end = view.durationMs;
    const peaks = [caller.high.over(0, end), -caller.low.over(0, end), heard.high.over(0, end), -heard.low.over(0, end)];
    this.#peak = Math.max(16, ...peaks);
  }

  #call;
  #view;
  #peak;
  /** @type {Pen} */
  #pen = /** @type {any} */ (null);

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} width
   * @param {import("./pen.js").Color} color
   */
  draw(pen, width, color) {
    this.#pen = new Pen(pen, this.#view, width, color);
    pen.fillStyle = color("card");
    pen.fillRect(0, 0, width, HEIGHT);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.#drawAxis();
    let top = AXIS;
    for (const name of /** @type {(keyof typeof HEIGHTS)[]} */ (Object.keys(HEIGHTS))) {
      this.#drawLane(name, top, HEIGHTS[name]);
      top += HEIGHTS[name] + GAP;
    }
    this.#drawCursor();
  }

  /** @param {keyof typeof HEIGHTS} name @param {number} top @param {number} height */
  #drawLane(name, top, height) {
    const pen = this.#pen.context;
    pen.save();
    pen.beginPath();
    pen.rect(0, top, this.#pen.width, height);
    pen.clip();
    pen.fillStyle = this.#pen.color("paper");
    pen.fillRect(0, top, this.#pen.width, height);
    switch (name) {
      case "caller":
        this.#drawCaller(top, height);
        break;
      case "speech":
        this.#drawSpeech(top, height);
        break;
      case "heard":
        this.#drawHeard(top, height);
        break;
      case "buffer":
        this.#drawBuffer(top, height);
        break;
      case "links":
        this.#drawLinks(top, height);
        break;
      case "answers":
        this.#drawAnswers(top, height);
        break;
    }
    pen.restore();
  }

  #drawAxis() {
    const pen = this.#pen.context;
    const view = this.#view;
    const step = STEPS_MS.find((it) => (it / view.spanMs) * this.#pen.width >= LABEL_PX) ?? 36e5;
    const digits = step < 100 ? 2 : step < 1000 ? 1 : 0;
    for (let at = Math.ceil(view.fromMs / step) * step; at <= view.toMs; at += step) {
      const x = view.x(at, this.#pen.width);
      pen.fillStyle = this.#pen.color("line");
      pen.fillRect(Math.round(x), AXIS - 6, 1, HEIGHT - AXIS + 6);
      pen.fillStyle = this.#pen.color("quiet");
      pen.textAlign = x < 24 ? "left" : x > this.#pen.width - 24 ? "right" : "center";
      pen.fillText(clock(at, digits), x, 8);
    }
  }

  /** @param {number} top @param {number} height */
  #drawCaller(top, height) {
    const waves = height - WORDS;
    this.#pen.fill(this.#call.lists.speech, top, waves, "user", 0.16);
    this.#pen.wave(this.#call.waves.caller, this.#peak, top + NAME, waves - NAME, "user");
    const missing = this.#call.lists.holes.filter(({ cause }) => cause === "caller_audio_missing");
    this.#pen.fill(missing, top, waves, "bad", 0.4);
    this.#tagHoles(missing, top + waves - 8);
    this.#pen.name("caller", top);
    this.#drawWords("user", top + waves, "user");
  }

  /** @param {number} top @param {number} height */
  #drawHeard(top, height) {
    const { turns, pauses, cuts, clears, holes } = this.#call.lists;
    const waves = height - WORDS;
    const inner = { top: top + NAME, height: waves - NAME };
    this.#pen.fill(turns, top, waves, "assistant", 0.14);
    this.#pen.fill(pauses, top, waves, "busy", 0.3);
    this.#pen.wave(this.#call.waves.heard, this.#peak, inner.top, inner.height, "assistant");
    const ours = holes.filter(({ cause }) => cause !== "caller_audio_missing");
    this.#pen.fill(ours, top, waves, "bad", 0.45);
    const named = this.#pen.name("what the caller heard", top);
    this.#pen.label(turns, top + NAME / 2, (it, room) => (room > 56 ? `turn ${it.turn}` : String(it.turn)), "assistant", named);
    this.#pen.label(pauses, top + waves - 8, () => "paused", "busy");
    this.#tagHoles(ours, top + waves - 24);
    for (const { at } of clears) this.#pen.line(at, top, waves, "cut", 1, [3, 2]);
    for (const cut of cuts) {
      this.#pen.line(cut.at, top, waves, "cut", 2, []);
      if (cut.last !== null) this.#pen.line(cut.last, inner.top + 14, inner.height - 14, "ink", 1.5, []);
      if (this.#view.spanMs > TAGS_MS) continue;
      const text = `clear, turn ${cut.turn}${OUTCOMES[cut.outcome ?? ""] ?? ""}`;
      this.#pen.tag(text, cut.at, top + waves - 8, "cut");
      if (cut.last !== null && this.#view.spanMs < 8_000) this.#pen.tag("last audible byte", cut.last, inner.top + 10, "ink");
    }
    this.#drawWords("assistant", top + waves, "assistant");
  }

  /** @param {number} top @param {number} height */
  #drawSpeech(top, height) {
    const { threshold } = this.#call.data;
    const y = (/** @type {number} */ value) => top + height - 2 - value * (height - NAME);
    this.#pen.area(this.#call.speech, 200, top + NAME - 6, height - NAME + 6, "user");
    if (threshold !== null) {
      this.#pen.rule(y(threshold), "cut");
      this.#pen.note(`threshold ${threshold}`, y(threshold));
    }
    this.#pen.name("probability of speech", top);
  }

  /** @param {number} top @param {number} height */
  #drawBuffer(top, height) {
    const { lead_ms: lead } = this.#call.data;
    const { queued, ahead, target } = this.#call;
    const end = this.#view.durationMs;
    const seen = Math.max(queued.over(0, end), ahead.over(0, end));
    const most = Math.max(100, 1.4 * target.over(0, end), 1.4 * (lead ?? 0), Math.min(seen, 2000));
    const y = (/** @type {number} */ ms) => top + height - 2 - (ms / most) * (height - NAME);
    this.#pen.area(queued, most, top + NAME - 6, height - NAME + 6, "assistant");
    this.#pen.curve(ahead, most, top + NAME - 6, height - NAME + 6, "busy");
    const aimed = target.over(this.#view.fromMs, this.#view.fromMs + 1);
    if (aimed >= 0) {
      this.#pen.curve(target, most, top + NAME - 6, height - NAME + 6, "quiet", [4, 3]);
      this.#pen.note(`target ${aimed} ms`, y(aimed));
    }
    if (lead !== null) {
      this.#pen.rule(y(lead), "quiet");
      this.#pen.note(`lead ${lead} ms`, y(lead), 110);
    }
    this.#pen.name("buffer (filled), its target (dashed), and sent but not heard yet (line)", top);
  }

  /** @param {number} top @param {number} height */
  #drawLinks(top, height) {
    const rows = /** @type {const} */ (["caller", "assistant"]);
    const row = height / 2;
    rows.forEach((leg, number) => {
      const y = top + number * row;
      const gone = this.#call.lists.away.filter((it) => it.leg === leg);
      this.#pen.context.fillStyle = this.#pen.color(leg === "caller" ? "user" : "assistant");
      this.#pen.context.globalAlpha = 0.35;
      this.#pen.context.fillRect(0, y + row / 2 - 1, this.#pen.width, 3);
      this.#pen.context.globalAlpha = 1;
      this.#pen.fill(gone, y + 1, row - 2, "bad-paper", 1);
      this.#pen.fill(gone, y + row - 4, 3, "bad", 1);
      const named = this.#pen.name(leg === "caller" ? "the caller's connection" : "the assistant's connection", y);
      this.#pen.label(
        gone,
        y + row / 2,
        (it) => `away ${(it.gap_ms / 1000).toFixed(1)} s, ${it.replayed_ms} ms sent again, ${it.dropped_ms} ms lost`,
        "ink",
        named,
      );
    });
  }

  /** @param {number} top @param {number} height */
  #drawAnswers(top, height) {
    const pen = this.#pen.context;
    for (const it of this.#call.lists.answers) {
      if (!this.#pen.sees({ from: it.at, to: it.to })) continue;
      const parts = /** @type {const} */ ([
        ["assistant-bar", it.assistant],
        ["ours-bar", it.ours],
        ["network-bar", it.network ?? 0],
      ]);
      let at = it.at;
      for (const [name, ms] of parts) {
        const x = this.#view.x(at, this.#pen.width);
        at += ms;
        pen.fillStyle = this.#pen.color(name);
        pen.fillRect(x, top + NAME, Math.max(1, this.#view.x(at, this.#pen.width) - x), height - NAME);
      }
    }
    this.#pen.label(
      this.#call.lists.answers.map((it) => ({ ...it, from: it.at })),
      top + NAME + 9,
      (it) => `${(it.caller_stopped_to_assistant_heard / 1000).toFixed(2)} s`,
      "on-bar",
    );
    this.#pen.name("wait for an answer: assistant, relay, network", top);
  }

  /** @param {import("./call.js").Hole[]} holes @param {number} y */
  #tagHoles(holes, y) {
    if (this.#view.spanMs > TAGS_MS) return;
    for (const { from, ms, cause } of holes) {
      this.#pen.tag(`${Math.round(ms)} ms: ${HOLES[/** @type {keyof typeof HOLES} */ (cause)]}`, from, y, "bad");
    }
  }

  /** @param {"user" | "assistant"} role @param {number} top @param {string} color */
  #drawWords(role, top, color) {
    const pen = this.#pen.context;
    const words = this.#call.lists.said.filter((it) => it.role === role);
    pen.textAlign = "left";
    words.forEach((it, number) => {
      const until = Math.max(it.to, words[number + 1]?.from ?? this.#view.durationMs);
      if (!this.#pen.sees({ from: it.from, to: until })) return;
      const left = Math.max(0, this.#view.x(it.from, this.#pen.width));
      const room = Math.min(this.#pen.width, this.#view.x(until, this.#pen.width)) - left - 8;
      if (room < 24) return;
      pen.fillStyle = this.#pen.color(color);
      pen.fillText(fitted(pen, it.text, room), left + 3, top + WORDS / 2);
    });
  }

  #drawCursor() {
    this.#pen.line(this.#view.cursorMs, 0, HEIGHT, "ink", 1, []);
  }
}
