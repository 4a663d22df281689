/**
 * What the microphone said, as a bounded log with a cursor. After an outage the cursor is set back to what the server
 * wants next, and the same code sends the backlog, then live audio.
 * @module
 */

import { encodeFrame } from "./wire.js";

/** @typedef {{sequence: number, durationMs: number, bytes: ArrayBuffer}} Frame */

export class UplinkLog {
  /** @param {number} maxMs how much audio is kept; what falls off unsent is counted in `lostMs` */
  constructor(maxMs = 10_000) {
    this.lostMs = 0;
    this.resentFrames = 0;
    this.#maxMs = maxMs;
  }

  #maxMs;
  /** @type {Frame[]} */
  #frames = [];
  #keptMs = 0;
  #lastSequence = 0;
  #cursor = 1;
  #highest = 0;

  /** The sequence number of the next new frame. */
  get nextSequence() {
    return this.#lastSequence + 1;
  }

  /** How much waits to be sent. */
  get waitingMs() {
    return this.#frames.reduce((sum, frame) => sum + (frame.sequence >= this.#cursor ? frame.durationMs : 0), 0);
  }

  /**
   * @param {Int16Array} pcm
   * @param {number} ms time of its first sample
   * @param {number} durationMs
   */
  append(pcm, ms, durationMs) {
    const sequence = ++this.#lastSequence;
    this.#frames.push({ sequence, durationMs, bytes: encodeFrame(sequence, Math.round(ms), pcm) });
    this.#keptMs += durationMs;
    while (this.#keptMs > this.#maxMs) {
      const oldest = /** @type {Frame} */ (this.#frames.shift());
      this.#keptMs -= oldest.durationMs;
      if (oldest.sequence >= this.#cursor) this.lostMs += oldest.durationMs;
    }
  }

  /**
   * The next frames to send, which count as sent from now on.
   * @param {number} most
   * @returns {ArrayBuffer[]}
   */
  take(most) {
    const first = this.#frames.findIndex((frame) => frame.sequence >= this.#cursor);
    if (first < 0) return [];
    const taken = this.#frames.slice(first, first + most);
    this.#cursor = taken[taken.length - 1].sequence + 1;
    this.resentFrames += taken.filter((frame) => frame.sequence <= this.#highest).length;
    this.#highest = Math.max(this.#highest, this.#cursor - 1);
    return taken.map((frame) => frame.bytes);
  }

  /**
   * The server has everything before `next`, and wants to go on there.
   * @param {number} next
   */
  resumeAt(next) {
    while (this.#frames.length && this.#frames[0].sequence < next) {
      this.#keptMs -= /** @type {Frame} */ (this.#frames.shift()).durationMs;
    }
    this.#cursor = next;
  }
}
