/**
 * The rolling timeline, drawn anew with each pair of levels: loudness of both sides, when each was heard to speak,
 * interruptions, breaks of the connection.
 * @module
 */

const SPAN_MS = 20_000;
const CALM_FRAME_MS = 250;
/** Below, nothing is drawn. */
const FLOOR_DB = -60;

/** @typedef {{from: number, to: number | null}} Span */

export class Timeline {
  /** @param {HTMLCanvasElement} canvas */
  constructor(canvas) {
    this.#canvas = canvas;
    this.#context = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d"));
    this.#calm = matchMedia("(prefers-reduced-motion: reduce)");
    new ResizeObserver(() => this.draw()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  #canvas;
  #context;
  #calm;
  /** @type {{at: number, input: number, output: number}[]} */
  #levels = [];
  /** @type {{user: Span[], assistant: Span[]}} */
  #speech = { user: [], assistant: [] };
  /** @type {Span[]} */
  #breaks = [];
  /** @type {{at: number, label: string}[]} */
  #cuts = [];
  #running = false;
  #drawnAt = 0;
  #stoppedAt = performance.now();

  start() {
    this.#levels = [];
    this.#speech = { user: [], assistant: [] };
    this.#breaks = [];
    this.#cuts = [];
    this.#running = true;
  }

  stop() {
    if (!this.#running) return;
    this.#running = false;
    this.#stoppedAt = performance.now();
    for (const spans of [this.#speech.user, this.#speech.assistant, this.#breaks]) close(spans, this.#stoppedAt);
    this.draw();
  }

  /** @param {number} input @param {number} output RMS, 0 to 1 */
  addLevels(input, output) {
    const at = performance.now();
    this.#levels.push({ at, input, output });
    while (this.#levels[0].at < at - SPAN_MS) this.#levels.shift();
    if (!this.#running || (this.#calm.matches && at - this.#drawnAt < CALM_FRAME_MS)) return;
    this.#drawnAt = at;
    requestAnimationFrame(() => this.draw());
  }

  /** @param {"user" | "assistant"} role @param {"started" | "stopped"} status */
  markSpeech(role, status) {
    mark(this.#speech[role], status === "started");
  }

  /** @param {boolean} broken */
  markBreak(broken) {
    mark(this.#breaks, broken);
  }

  /** @param {string} label */
  markCut(label) {
    this.#cuts = this.#cuts.filter(({ at }) => at > performance.now() - SPAN_MS);
    this.#cuts.push({ at: performance.now(), label });
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const scale = devicePixelRatio;
    this.#canvas.width = Math.round(width * scale);
    this.#canvas.height = Math.round(height * scale);
    const context = this.#context;
    context.scale(scale, scale);
    const end = this.#running ? performance.now() : this.#stoppedAt;
    const x = (/** @type {number} */ at) => width + ((at - end) / SPAN_MS) * width;
    const style = getComputedStyle(this.#canvas);
    const color = (/** @type {string} */ name) => style.getPropertyValue(`--${name}`);
    const lane = (height - 18) / 2;
    this.#drawGrid(width, lane, end, x, color);
    this.#drawSpans(this.#breaks, x, end, 0, lane * 2, color("break"), 0.35);
    this.#drawSpans(this.#speech.user, x, end, 0, lane, color("user"), 0.16);
    this.#drawSpans(this.#speech.assistant, x, end, lane, lane, color("assistant"), 0.16);
    for (const { at, input, output } of this.#levels) {
      this.#drawBar(x(at), lane / 2, lane, input, color("user"));
      this.#drawBar(x(at), lane * 1.5, lane, output, color("assistant"));
    }
    this.#drawCuts(x, width, lane, color("cut"), color("card"));
  }

  /**
   * @param {number} width
   * @param {number} lane
   * @param {number} end
   * @param {(at: number) => number} x
   * @param {(name: string) => string} color
   */
  #drawGrid(width, lane, end, x, color) {
    const context = this.#context;
    context.fillStyle = color("line");
    context.fillRect(0, lane - 0.5, width, 1);
    context.fillRect(0, lane * 2 - 0.5, width, 1);
    context.fillStyle = color("quiet");
    context.font = "11px system-ui, sans-serif";
    context.textBaseline = "bottom";
    for (let seconds = 0; seconds <= 20; seconds += width < 500 ? 10 : 5) {
      context.textAlign = seconds === 0 ? "right" : seconds === 20 ? "left" : "center";
      context.fillText(seconds ? `${seconds} s ago` : "now", x(end - seconds * 1000), lane * 2 + 18);
    }
  }

  /**
   * @param {Span[]} spans
   * @param {(at: number) => number} x
   * @param {number} end
   * @param {number} top
   * @param {number} height
   * @param {string} color
   * @param {number} alpha
   */
  #drawSpans(spans, x, end, top, height, color, alpha) {
    this.#context.globalAlpha = alpha;
    this.#context.fillStyle = color;
    for (const { from, to } of spans) this.#context.fillRect(x(from), top, x(to ?? end) - x(from), height);
    this.#context.globalAlpha = 1;
  }

  /**
   * @param {number} x
   * @param {number} middle
   * @param {number} lane
   * @param {number} level
   * @param {string} color
   */
  #drawBar(x, middle, lane, level, color) {
    const share = loudness(level);
    if (share === 0) return;
    const height = Math.max(1.5, share * (lane - 8));
    this.#context.fillStyle = color;
    this.#context.fillRect(x - 1, middle - height / 2, 2, height);
  }

  /**
   * @param {(at: number) => number} x
   * @param {number} width
   * @param {number} lane
   * @param {string} color
   * @param {string} paper
   */
  #drawCuts(x, width, lane, color, paper) {
    const context = this.#context;
    context.textBaseline = "top";
    for (const { at, label } of this.#cuts) {
      const wide = context.measureText(label).width + 8;
      const left = x(at) > width - wide ? x(at) - wide : x(at);
      context.textAlign = "left";
      context.fillStyle = paper;
      context.fillRect(left, lane - 8, wide, 16);
      context.fillStyle = color;
      context.fillText(label, left + 4, lane - 6);
      context.fillRect(x(at) - 1, 0, 2, lane * 2);
    }
  }
}

/**
 * Loudness for the eye: 0 at -60 dB, 1 at full scale.
 * @param {number} level RMS, 0 to 1
 */
export function loudness(level) {
  return level > 0 ? Math.max(0, 1 - (20 * Math.log10(level)) / FLOOR_DB) : 0;
}

/** @param {Span[]} spans @param {boolean} on */
function mark(spans, on) {
  const now = performance.now();
  const isOpen = spans.at(-1)?.to === null;
  if (on && !isOpen) spans.push({ from: now, to: null });
  if (!on) close(spans, now);
  while (spans.length && (spans[0].to ?? now) < now - SPAN_MS) spans.shift();
}

/** @param {Span[]} spans @param {number} now */
function close(spans, now) {
  const last = spans.at(-1);
  if (last?.to === null) last.to = now;
}
