/**
 * The playback worklet's buffer: a ring of the assistant's audio, by turns, played at an exact rate after an adaptive
 * delay, and stopped at once by an interruption. It knows no worklet and no clock: time is an argument.
 * @module
 */

import { HALF_TAPS, interpolate, sincTable } from "./resample.js";

const START_TARGET_MS = 200;
const LEAST_TARGET_MS = 80;
const MOST_TARGET_MS = 800;
/** The target is the delay that would have been enough so far, times SAFETY, plus SAFETY_MS. */
const SAFETY = 1.25;
const SAFETY_MS = 40;
/** Per message: at 50 a second, what was needed once counts half after five seconds of audio. */
const FORGETTING = 0.9972;
const CAPACITY_S = 30;
/** What waits beyond the target by more than this is taken back in pauses. */
const SLACK_MS = 60;
/** So much of a pause stays, behind the word before it and in front of the next one. */
const BEHIND_WORD_MS = 160;
const BEFORE_WORD_MS = 140;
/** A message without a larger sample is a pause. */
const QUIET = 64;
const FADE_S = 0.005;
/** Messages of one turn that are closer than this, by their stamps, belong together: silence between them is a hole. */
const CONTIGUOUS_MS = 40;

/** @typedef {{turn: number, end: number}} Segment `end` is the position after its last sample */

export class Playout {
  /**
   * @param {number} rate of the audio that comes in, Hz
   * @param {number} contextRate of the audio that goes out, Hz
   */
  constructor(rate, contextRate) {
    this.#rate = rate;
    this.#step = rate / contextRate;
    this.#table = sincTable(Math.min(1, contextRate / rate) * (this.#step === 1 ? 1 : 0.95));
    this.#ring = new Float32Array(2 ** Math.ceil(Math.log2(rate * CAPACITY_S)));
    this.#fade = new Float32Array(Math.round(contextRate * FADE_S));
    this.#fadeAt = this.#fade.length;
  }

  turn = 0;
  holes = 0;
  holeMs = 0;
  staleFrames = 0;
  overflowFrames = 0;
  isPlaying = false;

  #rate;
  #step;
  #table;
  #ring;
  #fade;
  #fadeAt;
  /** @type {Segment[]} */
  #segments = [];
  /** What waits of quiet messages, as positions; those that follow each other are one. @type {{from: number, to: number}[]} */
  #pauses = [];
  #read = 0;
  #fraction = 0;
  #written = 0;
  /** The last turn that was interrupted: no audio of it or those before it is played. */
  #fence = -1;
  #heard = 0;
  /** When the first message came that waits to be played. */
  #filledFrom = 0;
  /** When the buffer ran dry, or -1. */
  #dryAt = -1;
  /** The turn of the last message, and where its audio ends by the stamps. */
  #last = { turn: -1, endMs: -Infinity };
  #isNewLink = true;
  /** The least and, fading, the most by which arrival was behind the stamps since the last break. */
  #least = 0;
  #most = 0;
  #needMs = (START_TARGET_MS - SAFETY_MS) / SAFETY;

  /** What waits to be played. */
  get bufferMs() {
    return ((this.#written - this.#read) * 1000) / this.#rate;
  }

  /** How much is buffered before playing begins. */
  get targetMs() {
    return Math.min(MOST_TARGET_MS, Math.max(LEAST_TARGET_MS, this.#needMs * SAFETY + SAFETY_MS));
  }

  /** What was played of `turn`. */
  get heardMs() {
    return (this.#heard * 1000) / this.#rate;
  }

  /**
   * Takes one message. Audio of an interrupted turn is dropped and counted, as is what does not fit.
   * @param {number} turn
   * @param {number} ms of audio that the sender had sent before; it stands still while nothing is sent
   * @param {Int16Array} pcm
   * @param {number} nowMs
   */
  push(turn, ms, pcm, nowMs) {
    if (turn <= this.#fence) {
      this.staleFrames++;
      return;
    }
    if (this.#written - this.#read + pcm.length > this.#ring.length - 2 * HALF_TAPS) {
      this.overflowFrames++;
      return;
    }
    this.#measureArrival(turn, ms, nowMs);
    this.#last = { turn, endMs: ms + (pcm.length * 1000) / this.#rate };
    if (this.#read === this.#written && !this.isPlaying) this.#filledFrom = nowMs;
    this.#notePause(pcm);
    this.#write(pcm);
    const last = this.#segments.at(-1);
    if (last?.turn === turn) last.end = this.#written;
    else this.#segments.push({ turn, end: this.#written });
  }

  /** The connection is another one: how late its first message is says nothing about its jitter. */
  changeLink() {
    this.#isNewLink = true;
  }

  /**
   * Stops every turn up to `turn`: what sounds now fades out within 5 ms, what waits is dropped.
   * @param {number} turn
   * @returns {number} milliseconds that were dropped
   */
  interrupt(turn) {
    this.#fence = Math.max(this.#fence, turn);
    if (this.isPlaying && this.#segments.length && this.#segments[0].turn <= turn) this.#renderFade();
    const before = this.#read;
    while (this.#segments.length && this.#segments[0].turn <= turn) {
      this.#read = /** @type {Segment} */ (this.#segments.shift()).end;
      this.#fraction = 0;
      this.isPlaying = false;
      this.#dryAt = -1;
    }
    this.#silenceHistory();
    return Math.max(0, this.#read - before) * (1000 / this.#rate);
  }

  /**
   * Fills one block. Everything not written by audio is zero.
   * @param {Float32Array} out
   * @param {number} nowMs
   */
  render(out, nowMs) {
    out.fill(0);
    if (!this.isPlaying) this.#begin(nowMs);
    if (this.isPlaying) this.#catchUp();
    if (this.isPlaying) this.#play(out, nowMs);
    for (let i = 0; i < out.length && this.#fadeAt < this.#fade.length; i++) out[i] += this.#fade[this.#fadeAt++];
  }

  /** @param {number} nowMs */
  #begin(nowMs) {
    if (this.#read === this.#written) return;
    if (this.bufferMs < this.targetMs && nowMs - this.#filledFrom < this.targetMs) return;
    if (this.#dryAt >= 0) {
      this.holes++;
      this.holeMs += nowMs - this.#dryAt;
      this.#dryAt = -1;
    }
    this.isPlaying = true;
  }

  /** @param {Int16Array} pcm that is about to be written */
  #notePause(pcm) {
    if (pcm.some((sample) => Math.abs(sample) > QUIET)) return;
    const to = this.#written + pcm.length;
    const last = this.#pauses.at(-1);
    if (last?.to === this.#written) last.to = to;
    else this.#pauses.push({ from: this.#written, to });
  }

  /**
   * Shortens the pause that is played, if more waits than need be: what an outage has left behind would make everything
   * late for as long as the relay sends without a break. What is left out counts as heard.
   */
  #catchUp() {
    while (this.#pauses.length && this.#pauses[0].to <= this.#read) this.#pauses.shift();
    const sparesMs = this.bufferMs - this.targetMs - SLACK_MS;
    if (!this.#pauses.length || sparesMs <= 0) return;
    const { from, to } = this.#pauses[0];
    const perMs = this.#rate / 1000;
    const spared = Math.floor(Math.min(to - BEFORE_WORD_MS * perMs - this.#read, sparesMs * perMs));
    if (this.#read < from + BEHIND_WORD_MS * perMs || spared <= 0) return;
    this.#heard += spared;
    this.#read += spared;
  }

  /**
   * @param {Float32Array} out
   * @param {number} nowMs
   */
  #play(out, nowMs) {
    for (let i = 0; i < out.length; i++) {
      if (this.#read >= this.#written) {
        this.isPlaying = false;
        this.#dryAt = nowMs;
        return;
      }
      out[i] = this.#sample();
    }
  }

  #sample() {
    this.#enterTurn();
    const value =
      this.#step === 1
        ? this.#ring[this.#read & (this.#ring.length - 1)]
        : interpolate(this.#table, this.#ring, this.#read, this.#fraction);
    this.#fraction += this.#step;
    const whole = Math.floor(this.#fraction);
    this.#fraction -= whole;
    const to = Math.min(this.#read + whole, this.#written);
    this.#heard += to - this.#read;
    this.#read = to;
    return value;
  }

  #enterTurn() {
    while (this.#segments.length > 1 && this.#segments[0].end <= this.#read) this.#segments.shift();
    const turn = this.#segments[0].turn;
    if (turn === this.turn) return;
    this.turn = turn;
    this.#heard = 0;
  }

  /** Renders on for 5 ms, falling to zero as a raised cosine; it is mixed over whatever comes next. */
  #renderFade() {
    const length = this.#fade.length;
    for (let i = 0; i < length; i++) {
      const gain = 0.5 + 0.5 * Math.cos((Math.PI * (i + 1)) / length);
      this.#fade[i] = this.#read < this.#written ? this.#sample() * gain : 0;
    }
    this.#fadeAt = 0;
  }

  /** @param {Int16Array} pcm */
  #write(pcm) {
    const mask = this.#ring.length - 1;
    for (let i = 0; i < pcm.length; i++) this.#ring[(this.#written + i) & mask] = pcm[i] / 32768;
    this.#written += pcm.length;
    // The filter looks ahead: behind the last sample there is silence, not audio of half a minute ago.
    for (let i = 0; i < HALF_TAPS; i++) this.#ring[(this.#written + i) & mask] = 0;
  }

  /** The filter looks back: what was dropped must not ring on in what follows. */
  #silenceHistory() {
    const mask = this.#ring.length - 1;
    for (let i = 1; i < HALF_TAPS; i++) this.#ring[(this.#read - i) & mask] = 0;
  }

  /**
   * Measures how much buffer would have kept the audio so far without a hole.
   *
   * A message was late only if a later one is less late: a network that held messages back hands them over one upon the
   * other. When the delay rises and stays, the sender had paused, for the stamps stand still then. Behind a break (another
   * turn, stamps that jump, another connection) nothing is known of the delay: what comes at once there was held back by
   * an outage, or is sent ahead of time.
   * @param {number} turn
   * @param {number} ms
   * @param {number} nowMs
   */
  #measureArrival(turn, ms, nowMs) {
    const isContiguous = turn === this.#last.turn && Math.abs(ms - this.#last.endMs) < CONTIGUOUS_MS;
    const late = nowMs - ms;
    if (!isContiguous) this.#dryAt = -1;
    if (!isContiguous || this.#isNewLink) this.#least = this.#most = late;
    this.#isNewLink = false;
    this.#most = Math.max(late, late + (this.#most - late) * FORGETTING);
    this.#needMs = Math.max(this.#needMs * FORGETTING, this.#most - Math.max(late, this.#least));
    if (late < this.#least) this.#least = this.#most = late;
  }
}
