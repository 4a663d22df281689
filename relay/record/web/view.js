/**
 * The stretch of the call that is shown, and the place in it that is looked at.
 * @module
 */

const SHORTEST_MS = 100;

export class View {
  /** @param {number} durationMs */
  constructor(durationMs) {
    this.durationMs = durationMs;
    this.fromMs = 0;
    this.toMs = durationMs;
    this.cursorMs = 0;
    /** @type {() => void} */
    this.onChange = () => undefined;
  }

  get spanMs() {
    return this.toMs - this.fromMs;
  }

  /**
   * Show this stretch, moved and shortened to lie in the call.
   * @param {number} fromMs
   * @param {number} toMs
   */
  show(fromMs, toMs) {
    const span = Math.min(this.durationMs, Math.max(SHORTEST_MS, toMs - fromMs));
    this.fromMs = Math.min(this.durationMs - span, Math.max(0, fromMs));
    this.toMs = this.fromMs + span;
    this.onChange();
  }

  /** @param {number} factor under 1: closer @param {number} aroundMs stays where it is on the screen */
  zoom(factor, aroundMs = this.cursorMs) {
    const span = Math.min(this.durationMs, Math.max(SHORTEST_MS, this.spanMs * factor));
    const share = Math.min(1, Math.max(0, (aroundMs - this.fromMs) / this.spanMs));
    const fromMs = aroundMs >= this.fromMs && aroundMs <= this.toMs ? aroundMs - share * span : aroundMs - span / 2;
    this.show(fromMs, fromMs + span);
  }

  /** @param {number} byMs */
  pan(byMs) {
    this.show(this.fromMs + byMs, this.toMs + byMs);
  }

  all() {
    this.show(0, this.durationMs);
  }

  /** @param {number} atMs the view follows it */
  moveCursor(atMs) {
    this.cursorMs = Math.min(this.durationMs, Math.max(0, atMs));
    if (this.cursorMs < this.fromMs || this.cursorMs > this.toMs) {
      this.show(this.cursorMs - this.spanMs / 4, this.cursorMs + (this.spanMs * 3) / 4);
    } else {
      this.onChange();
    }
  }

  /**
   * Look at a moment from close by.
   * @param {number} atMs
   * @param {number} untilMs
   */
  jump(atMs, untilMs = atMs) {
    const around = Math.max(5000, (untilMs - atMs) * 0.5);
    this.cursorMs = Math.min(this.durationMs, Math.max(0, atMs));
    this.show(atMs - around, untilMs + around);
  }

  /** @param {number} atMs @param {number} width */
  x(atMs, width) {
    return ((atMs - this.fromMs) / this.spanMs) * width;
  }

  /** @param {number} x @param {number} width */
  ms(x, width) {
    return this.fromMs + (x / width) * this.spanMs;
  }
}

/**
 * Minutes and seconds, as 02:13.4.
 * @param {number} atMs
 * @param {number} digits of a second
 */
export function clock(atMs, digits = 1) {
  const unit = 10 ** digits;
  const parts = Math.round((Math.max(0, atMs) / 1000) * unit);
  const minutes = Math.floor(parts / (60 * unit));
  const seconds = ((parts % (60 * unit)) / unit).toFixed(digits);
  return `${String(minutes).padStart(2, "0")}:${seconds.padStart(digits ? digits + 3 : 2, "0")}`;
}
