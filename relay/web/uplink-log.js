/**
 * A bounded log of the microphone's audio, with a cursor at what is sent next. After an outage the cursor goes back to
 * where the relay wants to go on, and the same code sends the backlog, then live audio.
 * @module
 */

import { encodeFrame } from "./wire.js";

/** @typedef {{sequence: number, durationMs: number, bytes: ArrayBuffer}} Frame */

export class UplinkLog {
  /** @param {number} maxMs how much audio is kept */
  constructor(maxMs = 10_000) {
    this.#maxMs = maxMs;
  }

  /** Audio that was dropped for lack of room before it could be sent. */
  lostMs = 0;
  resentFrames = 0;

  #maxMs;
  /** @type {Frame[]} */
  #frames = [];
  #keptMs = 0;
  #lastSequence = 0;
  #cursor = 1;
  #highestSent = 0;

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
    this.resentFrames += taken.filter((frame) => frame.sequence <= this.#highestSent).length;
    this.#highestSent = Math.max(this.#highestSent, this.#cursor - 1);
    return taken.map((frame) => frame.bytes);
  }

  /**
   * The relay has everything before `next`, and wants to go on there.
   * @param {number} next
   */
  resumeAt(next) {
    while (this.#frames.length && this.#frames[0].sequence < next) {
      this.#keptMs -= /** @type {Frame} */ (this.#frames.shift()).durationMs;
    }
    this.#cursor = next;
  }
}
