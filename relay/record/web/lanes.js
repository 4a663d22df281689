/**
 * Draws the lanes of the timeline for one view: waves, speech, buffer, connections, answers.
 * @module
 */

import { HOLES } from "./call.js";
import { clock } from "./view.js";

const AXIS = 22;
const GAP = 6;
const HEIGHTS = { caller: 108, speech: 50, heard: 118, buffer: 66, links: 36, answers: 34 };
/** The row of a lane's name, and of the words below the waves. */
const NAME = 17;
const WORDS = 17;
const STEPS_MS = [10, 20, 50, 100, 200, 500, 1e3, 2e3, 5e3, 1e4, 2e4, 3e4, 6e4, 12e4, 3e5, 6e5, 12e5];
const LABEL_PX = 84;
/** In a longer stretch there is no room for words beside a moment. */
const TAGS_MS = 90_000;

export const HEIGHT = AXIS + Object.values(HEIGHTS).reduce((sum, height) => sum + height + GAP, 0);

/**
 * @typedef {import("./call.js").RecordedCall} RecordedCall
 * @typedef {import("./call.js").Span} Span
 * @typedef {import("./view.js").View} View
 * @typedef {(name: string) => string} Color
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
  /** @type {CanvasRenderingContext2D} */
  #pen = /** @type {any} */ (null);
  #width = 0;
  /** @type {Color} */
  #color = () => "";

  /**
   * @param {CanvasRenderingContext2D} pen
   * @param {number} width
   * @param {Color} color
   */
  draw(pen, width, color) {
    this.#pen = pen;
    this.#width = width;
    this.#color = color;
    pen.fillStyle = color("card");
    pen.fillRect(0, 0, width, HEIGHT);
    pen.font = "12px system-ui, sans-serif";
    pen.textBaseline = "middle";
    this.#drawAxis();
    let top = AXIS;
    const lanes = { ...HEIGHTS };
    for (const name of /** @type {(keyof typeof HEIGHTS)[]} */ (Object.keys(lanes))) {
      this.#drawLane(name, top, HEIGHTS[name]);
      top += HEIGHTS[name] + GAP;
    }
    this.#drawCursor();
  }

  /** @param {keyof typeof HEIGHTS} name @param {number} top @param {number} height */
  #drawLane(name, top, height) {
    const pen = this.#pen;
    pen.save();
    pen.beginPath();
    pen.rect(0, top, this.#width, height);
    pen.clip();
    pen.fillStyle = this.#color("paper");
    pen.fillRect(0, top, this.#width, height);
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
    const pen = this.#pen;
    const view = this.#view;
    const step = STEPS_MS.find((it) => (it / view.spanMs) * this.#width >= LABEL_PX) ?? 36e5;
    const digits = step < 100 ? 2 : step < 1000 ? 1 : 0;
    for (let at = Math.ceil(view.fromMs / step) * step; at <= view.toMs; at += step) {
      const x = view.x(at, this.#width);
      pen.fillStyle = this.#color("line");
      pen.fillRect(Math.round(x), AXIS - 6, 1, HEIGHT - AXIS + 6);
      pen.fillStyle = this.#color("quiet");
      pen.textAlign = x < 24 ? "left" : x > this.#width - 24 ? "right" : "center";
      pen.fillText(clock(at, digits), x, 8);
    }
  }

  /** @param {number} top @param {number} height */
  #drawCaller(top, height) {
    const waves = height - WORDS;
    this.#fill(this.#call.lists.speech, top, waves, "user", 0.16);
    this.#drawWave("caller", top + NAME, waves - NAME, "user");
    const missing = this.#call.lists.holes.filter(({ cause }) => cause === "caller_audio_missing");
    this.#fill(missing, top, waves, "bad", 0.4);
    this.#tagHoles(missing, top + waves - 8);
    this.#name("caller", top);
    this.#drawWords("user", top + waves, "user");
  }

  /** @param {number} top @param {number} height */
  #drawHeard(top, height) {
    const { turns, pauses, cuts, clears, holes } = this.#call.lists;
    const waves = height - WORDS;
    const inner = { top: top + NAME, height: waves - NAME };
    this.#fill(turns, top, waves, "assistant", 0.14);
    this.#fill(pauses, top, waves, "busy", 0.3);
    this.#drawWave("heard", inner.top, inner.height, "assistant");
    const ours = holes.filter(({ cause }) => cause !== "caller_audio_missing");
    this.#fill(ours, top, waves, "bad", 0.45);
    const named = this.#name("what the caller heard", top);
    this.#label(turns, top + NAME / 2, (it, room) => (room > 56 ? `turn ${it.turn}` : String(it.turn)), "assistant", named);
    this.#label(pauses, top + waves - 8, () => "paused", "busy");
    this.#tagHoles(ours, top + waves - 24);
    for (const { at } of clears) this.#line(at, top, waves, "cut", 1, [3, 2]);
    for (const cut of cuts) {
      this.#line(cut.at, top, waves, "cut", 2, []);
      if (cut.last !== null) this.#line(cut.last, inner.top + 14, inner.height - 14, "ink", 1.5, []);
      if (this.#view.spanMs > TAGS_MS) continue;
      const text = `clear, turn ${cut.turn}${cut.outcome === "false alarm" ? ": a false alarm" : ""}`;
      this.#tag(text, cut.at, top + waves - 8, "cut");
      if (cut.last !== null && this.#view.spanMs < 8_000) this.#tag("last audible byte", cut.last, inner.top + 10, "ink");
    }
    this.#drawWords("assistant", top + waves, "assistant");
  }

  /** @param {number} top @param {number} height */
  #drawSpeech(top, height) {
    const { threshold } = this.#call.data;
    const y = (/** @type {number} */ value) => top + height - 2 - value * (height - NAME);
    this.#drawArea(this.#call.speech, 200, top + NAME - 6, height - NAME + 6, "user");
    if (threshold !== null) {
      this.#rule(y(threshold), "cut");
      this.#note(`threshold ${threshold}`, y(threshold));
    }
    this.#name("probability of speech", top);
  }

  /** @param {number} top @param {number} height */
  #drawBuffer(top, height) {
    const { target_ms: target, lead_ms: lead } = this.#call.data;
    const { queued, ahead } = this.#call;
    const end = this.#view.durationMs;
    const seen = Math.max(queued.over(0, end), ahead.over(0, end));
    const most = Math.max(100, 1.4 * (target ?? 0), 1.4 * (lead ?? 0), Math.min(seen, 2000));
    const y = (/** @type {number} */ ms) => top + height - 2 - (ms / most) * (height - NAME);
    this.#drawArea(queued, most, top + NAME - 6, height - NAME + 6, "assistant");
    this.#drawCurve(ahead, most, top + NAME - 6, height - NAME + 6, "busy");
    for (const [ms, text, left] of /** @type {[number | null, string, number][]} */ ([
      [target, "target", 0],
      [lead, "lead", 110],
    ])) {
      if (ms === null) continue;
      this.#rule(y(ms), "quiet");
      this.#note(`${text} ${ms} ms`, y(ms), left);
    }
    this.#name("buffer (filled), and sent but not heard yet (line)", top);
  }

  /** @param {number} top @param {number} height */
  #drawLinks(top, height) {
    const rows = /** @type {const} */ (["caller", "assistant"]);
    const row = height / 2;
    rows.forEach((leg, number) => {
      const y = top + number * row;
      const gone = this.#call.lists.away.filter((it) => it.leg === leg);
      this.#pen.fillStyle = this.#color(leg === "caller" ? "user" : "assistant");
      this.#pen.globalAlpha = 0.35;
      this.#pen.fillRect(0, y + row / 2 - 1, this.#width, 3);
      this.#pen.globalAlpha = 1;
      this.#fill(gone, y + 1, row - 2, "bad-paper", 1);
      this.#fill(gone, y + row - 4, 3, "bad", 1);
      const named = this.#name(leg === "caller" ? "the caller's connection" : "the assistant's connection", y);
      this.#label(
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
    const pen = this.#pen;
    for (const it of this.#call.lists.answers) {
      if (!this.#sees({ from: it.at, to: it.to })) continue;
      const parts = /** @type {const} */ ([
        ["assistant-bar", it.assistant],
        ["ours-bar", it.ours],
        ["network-bar", it.network ?? 0],
      ]);
      let at = it.at;
      for (const [name, ms] of parts) {
        const x = this.#view.x(at, this.#width);
        at += ms;
        pen.fillStyle = this.#color(name);
        pen.fillRect(x, top + NAME, Math.max(1, this.#view.x(at, this.#width) - x), height - NAME);
      }
    }
    this.#label(
      this.#call.lists.answers.map((it) => ({ ...it, from: it.at })),
      top + NAME + 9,
      (it) => `${(it.caller_stopped_to_assistant_heard / 1000).toFixed(2)} s`,
      "on-bar",
    );
    this.#name("wait for an answer: assistant, relay, network", top);
  }

  /** @param {import("./call.js").Hole[]} holes @param {number} y */
  #tagHoles(holes, y) {
    if (this.#view.spanMs > TAGS_MS) return;
    for (const { from, ms, cause } of holes) {
      this.#tag(`${Math.round(ms)} ms: ${HOLES[/** @type {keyof typeof HOLES} */ (cause)]}`, from, y, "bad");
    }
  }

  /** @param {Span} it */
  #sees(it) {
    return it.to >= this.#view.fromMs && it.from <= this.#view.toMs;
  }

  /** @param {Span[]} spans @param {number} top @param {number} height @param {string} color @param {number} alpha */
  #fill(spans, top, height, color, alpha) {
    const pen = this.#pen;
    pen.fillStyle = this.#color(color);
    pen.globalAlpha = alpha;
    for (const it of spans) {
      if (!this.#sees(it)) continue;
      const x = this.#view.x(it.from, this.#width);
      pen.fillRect(x, top, Math.max(1.5, this.#view.x(it.to, this.#width) - x), height);
    }
    pen.globalAlpha = 1;
  }

  /**
   * Write into each span what fits there.
   * @template {Span} T
   * @param {T[]} spans
   * @param {number} y
   * @param {(it: T, room: number) => string} text
   * @param {string} color
   * @param {number} least the text begins no further left
   */
  #label(spans, y, text, color, least = 0) {
    const pen = this.#pen;
    pen.fillStyle = this.#color(color);
    pen.textAlign = "left";
    for (const it of spans) {
      if (!this.#sees(it)) continue;
      const left = Math.max(least, this.#view.x(it.from, this.#width));
      const room = Math.min(this.#width, this.#view.x(it.to, this.#width)) - left - 6;
      const shown = room < 18 ? "" : fitted(pen, text(it, room), room);
      if (shown) pen.fillText(shown, left + 4, y);
    }
  }

  /** @param {"user" | "assistant"} role @param {number} top @param {string} color */
  #drawWords(role, top, color) {
    const pen = this.#pen;
    const words = this.#call.lists.said.filter((it) => it.role === role);
    pen.textAlign = "left";
    words.forEach((it, number) => {
      const until = Math.max(it.to, words[number + 1]?.from ?? this.#view.durationMs);
      if (!this.#sees({ from: it.from, to: until })) return;
      const left = Math.max(0, this.#view.x(it.from, this.#width));
      const room = Math.min(this.#width, this.#view.x(until, this.#width)) - left - 8;
      if (room < 24) return;
      pen.fillStyle = this.#color(color);
      pen.fillText(fitted(pen, it.text, room), left + 3, top + WORDS / 2);
    });
  }

  /** @param {"caller" | "heard"} side @param {number} top @param {number} height @param {string} color */
  #drawWave(side, top, height, color) {
    const pen = this.#pen;
    const { low, high } = this.#call.waves[side];
    const middle = top + height / 2;
    const scale = (height / 2 - 2) / this.#peak;
    const perPixel = this.#view.spanMs / this.#width;
    pen.fillStyle = this.#color(color);
    for (let x = 0; x < this.#width; x++) {
      const from = this.#view.fromMs + x * perPixel;
      const up = high.over(from, from + perPixel) * scale;
      const down = low.over(from, from + perPixel) * scale;
      pen.fillRect(x, middle - up, 1, Math.max(1, up - down));
    }
  }

  /**
   * @param {import("./track.js").Track} track
   * @param {number} most
   * @param {number} top
   * @param {number} height
   * @param {string} color
   */
  #drawArea(track, most, top, height, color) {
    const pen = this.#pen;
    const perPixel = this.#view.spanMs / this.#width;
    pen.fillStyle = this.#color(color);
    pen.globalAlpha = 0.55;
    for (let x = 0; x < this.#width; x++) {
      const from = this.#view.fromMs + x * perPixel;
      const value = track.over(from, from + perPixel);
      if (value <= 0) continue;
      const tall = Math.min(1, value / most) * (height - 6);
      pen.fillRect(x, top + height - 2 - tall, 1, tall);
    }
    pen.globalAlpha = 1;
  }

  /**
   * @param {import("./track.js").Track} track
   * @param {number} most
   * @param {number} top
   * @param {number} height
   * @param {string} color
   */
  #drawCurve(track, most, top, height, color) {
    const pen = this.#pen;
    const perPixel = this.#view.spanMs / this.#width;
    pen.strokeStyle = this.#color(color);
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let x = 0; x < this.#width; x++) {
      const from = this.#view.fromMs + x * perPixel;
      const y = top + height - 2 - Math.min(1, Math.max(0, track.over(from, from + perPixel)) / most) * (height - 6);
      if (x) pen.lineTo(x, y);
      else pen.moveTo(x, y);
    }
    pen.stroke();
  }

  /** @param {number} y @param {string} color */
  #rule(y, color) {
    const pen = this.#pen;
    pen.strokeStyle = this.#color(color);
    pen.lineWidth = 1;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(0, y);
    pen.lineTo(this.#width, y);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {string} text @param {number} y @param {number} left so far from the right edge */
  #note(text, y, left = 0) {
    const pen = this.#pen;
    pen.textAlign = "right";
    pen.fillStyle = this.#color("paper");
    const wide = pen.measureText(text).width;
    pen.fillRect(this.#width - left - wide - 8, y - 8, wide + 8, 16);
    pen.fillStyle = this.#color("quiet");
    pen.fillText(text, this.#width - left - 4, y);
  }

  /** @param {string} text @param {number} top @returns {number} where it ends */
  #name(text, top) {
    const pen = this.#pen;
    const wide = pen.measureText(text).width;
    pen.textAlign = "left";
    pen.fillStyle = this.#color("paper");
    pen.globalAlpha = 0.85;
    pen.fillRect(0, top, wide + 10, 16);
    pen.globalAlpha = 1;
    pen.fillStyle = this.#color("quiet");
    pen.fillText(text, 4, top + 8);
    return wide + 10;
  }

  /**
   * @param {number} atMs
   * @param {number} top
   * @param {number} height
   * @param {string} color
   * @param {number} wide
   * @param {number[]} dash
   */
  #line(atMs, top, height, color, wide, dash) {
    const x = this.#view.x(atMs, this.#width);
    if (x < 0 || x > this.#width) return;
    const pen = this.#pen;
    pen.strokeStyle = this.#color(color);
    pen.lineWidth = wide;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {string} text @param {number} atMs @param {number} y @param {string} color beside a line */
  #tag(text, atMs, y, color) {
    const pen = this.#pen;
    const x = this.#view.x(atMs, this.#width);
    if (x < 0 || x > this.#width) return;
    const wide = pen.measureText(text).width + 6;
    const left = x + wide > this.#width ? x - wide - 2 : x + 2;
    pen.fillStyle = this.#color("card");
    pen.fillRect(left, y - 8, wide, 16);
    pen.fillStyle = this.#color(color);
    pen.textAlign = "left";
    pen.fillText(text, left + 3, y);
  }

  #drawCursor() {
    this.#line(this.#view.cursorMs, 0, HEIGHT, "ink", 1, []);
  }
}

/**
 * As much of a text as there is room for.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} room
 */
function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let [fits, tooLong] = [0, text.length];
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= room) fits = middle;
    else tooLong = middle;
  }
  return fits > 4 ? `${text.slice(0, fits)}…` : "";
}
