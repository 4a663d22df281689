/**
 * Draws the parts of a lane of which all lanes are made: spans, waves, curves, lines, and the words beside them.
 * @module
 */

/**
 * @typedef {import("./call.js").Span} Span
 * @typedef {import("./track.js").Track} Track
 * @typedef {(name: string) => string} Color
 */

export class Pen {
  /**
   * @param {CanvasRenderingContext2D} context
   * @param {import("./view.js").View} view
   * @param {number} width
   * @param {Color} color
   */
  constructor(context, view, width, color) {
    this.context = context;
    this.view = view;
    this.width = width;
    this.color = color;
  }

  /** @param {Span} it */
  sees(it) {
    return it.to >= this.view.fromMs && it.from <= this.view.toMs;
  }

  /** @param {Span[]} spans @param {number} top @param {number} height @param {string} color @param {number} alpha */
  fill(spans, top, height, color, alpha) {
    const pen = this.context;
    pen.fillStyle = this.color(color);
    pen.globalAlpha = alpha;
    for (const it of spans) {
      if (!this.sees(it)) continue;
      const x = this.view.x(it.from, this.width);
      pen.fillRect(x, top, Math.max(1.5, this.view.x(it.to, this.width) - x), height);
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
  label(spans, y, text, color, least = 0) {
    const pen = this.context;
    pen.fillStyle = this.color(color);
    pen.textAlign = "left";
    for (const it of spans) {
      if (!this.sees(it)) continue;
      const left = Math.max(least, this.view.x(it.from, this.width));
      const room = Math.min(this.width, this.view.x(it.to, this.width)) - left - 6;
      const shown = room < 18 ? "" : fitted(pen, text(it, room), room);
      if (shown) pen.fillText(shown, left + 4, y);
    }
  }

  /**
   * @param {{low: Track, high: Track}} sides
   * @param {number} peak what reaches the edges
   * @param {number} top
   * @param {number} height
   * @param {string} color
   */
  wave({ low, high }, peak, top, height, color) {
    const pen = this.context;
    const middle = top + height / 2;
    const scale = (height / 2 - 2) / peak;
    const perPixel = this.view.spanMs / this.width;
    pen.fillStyle = this.color(color);
    for (let x = 0; x < this.width; x++) {
      const from = this.view.fromMs + x * perPixel;
      const up = high.over(from, from + perPixel) * scale;
      const down = low.over(from, from + perPixel) * scale;
      pen.fillRect(x, middle - up, 1, Math.max(1, up - down));
    }
  }

  /**
   * @param {Track} track
   * @param {number} most
   * @param {number} top
   * @param {number} height
   * @param {string} color
   */
  area(track, most, top, height, color) {
    const pen = this.context;
    const perPixel = this.view.spanMs / this.width;
    pen.fillStyle = this.color(color);
    pen.globalAlpha = 0.55;
    for (let x = 0; x < this.width; x++) {
      const from = this.view.fromMs + x * perPixel;
      const value = track.over(from, from + perPixel);
      if (value <= 0) continue;
      const tall = Math.min(1, value / most) * (height - 6);
      pen.fillRect(x, top + height - 2 - tall, 1, tall);
    }
    pen.globalAlpha = 1;
  }

  /**
   * @param {Track} track
   * @param {number} most
   * @param {number} top
   * @param {number} height
   * @param {string} color
   * @param {number[]} dash
   */
  curve(track, most, top, height, color, dash = []) {
    const pen = this.context;
    const perPixel = this.view.spanMs / this.width;
    pen.strokeStyle = this.color(color);
    pen.lineWidth = 1.5;
    pen.beginPath();
    for (let x = 0; x < this.width; x++) {
      const from = this.view.fromMs + x * perPixel;
      const y = top + height - 2 - Math.min(1, Math.max(0, track.over(from, from + perPixel)) / most) * (height - 6);
      if (x) pen.lineTo(x, y);
      else pen.moveTo(x, y);
    }
    pen.setLineDash(dash);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {number} y @param {string} color */
  rule(y, color) {
    const pen = this.context;
    pen.strokeStyle = this.color(color);
    pen.lineWidth = 1;
    pen.setLineDash([4, 3]);
    pen.beginPath();
    pen.moveTo(0, y);
    pen.lineTo(this.width, y);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {string} text @param {number} y @param {number} left so far from the right edge */
  note(text, y, left = 0) {
    const pen = this.context;
    pen.textAlign = "right";
    pen.fillStyle = this.color("paper");
    const wide = pen.measureText(text).width;
    pen.fillRect(this.width - left - wide - 8, y - 8, wide + 8, 16);
    pen.fillStyle = this.color("quiet");
    pen.fillText(text, this.width - left - 4, y);
  }

  /** @param {string} text @param {number} top @returns {number} where it ends */
  name(text, top) {
    const pen = this.context;
    const wide = pen.measureText(text).width;
    pen.textAlign = "left";
    pen.fillStyle = this.color("paper");
    pen.globalAlpha = 0.85;
    pen.fillRect(0, top, wide + 10, 16);
    pen.globalAlpha = 1;
    pen.fillStyle = this.color("quiet");
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
  line(atMs, top, height, color, wide, dash) {
    const x = this.view.x(atMs, this.width);
    if (x < 0 || x > this.width) return;
    const pen = this.context;
    pen.strokeStyle = this.color(color);
    pen.lineWidth = wide;
    pen.setLineDash(dash);
    pen.beginPath();
    pen.moveTo(x, top);
    pen.lineTo(x, top + height);
    pen.stroke();
    pen.setLineDash([]);
  }

  /** @param {string} text @param {number} atMs @param {number} y @param {string} color beside a line */
  tag(text, atMs, y, color) {
    const pen = this.context;
    const x = this.view.x(atMs, this.width);
    if (x < 0 || x > this.width) return;
    const wide = pen.measureText(text).width + 6;
    const left = x + wide > this.width ? x - wide - 2 : x + 2;
    pen.fillStyle = this.color("card");
    pen.fillRect(left, y - 8, wide, 16);
    pen.fillStyle = this.color(color);
    pen.textAlign = "left";
    pen.fillText(text, left + 3, y);
  }
}

/**
 * As much of a text as there is room for.
 * @param {CanvasRenderingContext2D} pen
 * @param {string} text
 * @param {number} room
 */
export function fitted(pen, text, room) {
  if (pen.measureText(text).width <= room) return text;
  let [fits, tooLong] = [0, text.length];
  while (tooLong - fits > 1) {
    const middle = Math.floor((fits + tooLong) / 2);
    if (pen.measureText(`${text.slice(0, middle)}…`).width <= room) fits = middle;
    else tooLong = middle;
  }
  return fits > 4 ? `${text.slice(0, fits)}…` : "";
}
