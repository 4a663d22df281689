/**
 * The recorded call as the page has it: its tracks, and the lists of what happened, in the order of time.
 * @module
 */

import { Track } from "./track.js";
import { clock } from "./view.js";

/**
 * @typedef {{from: number, to: number}} Span in ms
 * @typedef {{at: number, sentence: string}} Moment
 * @typedef {Span & {turn: number}} Turn
 * @typedef {Span & {then: "resumed" | "cut"}} Pause
 * @typedef {{at: number, turn: number, by: string, onset_to_clear_ms: number, flushed_ms: number, last: number | null,
 *   outcome: string | null}} Cut
 * @typedef {Span & {leg: "caller" | "assistant", gap_ms: number, replayed_ms: number, dropped_ms: number}} Away
 * @typedef {Span & {ms: number, cause: string}} Hole
 * @typedef {Span & {role: "user" | "assistant", text: string}} Words
 * @typedef {{at: number, to: number, caller_stopped_to_assistant_heard: number, ours: number, network: number | null,
 *   assistant: number}} Answer
 * @typedef {{at: number, name: string, values: string}} LogEvent
 * @typedef {{moments: Moment[], speech: Span[], turns: Turn[], pauses: Pause[], cuts: Cut[], clears: {at: number}[], away: Away[],
 *   holes: Hole[], said: Words[], answers: Answer[], events: LogEvent[]}} Lists
 * @typedef {{id: string, sid: string, started_at: string, duration_ms: number, is_live: boolean,
 *   threshold: number | null, lead_ms: number | null, verdict: string[], worst: number,
 *   lists: Lists, tracks: Record<string, import("./track.js").TrackData>,
 *   sound: {type: string, bytes: string} | null}} CallData
 */

export const HOLES = {
  assistant_late: "the assistant's audio came late",
  assistant_lost: "the assistant was lost",
  caller_audio_missing: "audio of the caller never came",
};

export class RecordedCall {
  /** @param {CallData} data */
  constructor(data) {
    this.data = data;
    this.lists = data.lists;
    const tracks = data.tracks;
    this.waves = {
      caller: { low: new Track(tracks.caller_low, Math.min), high: new Track(tracks.caller_high) },
      heard: { low: new Track(tracks.heard_low, Math.min), high: new Track(tracks.heard_high) },
    };
    this.speech = new Track(tracks.speech);
    this.queued = new Track(tracks.queued);
    this.ahead = new Track(tracks.ahead);
    this.target = new Track(tracks.target);
  }

  /**
   * What there is at a moment, in words.
   * @param {number} atMs
   */
  describe(atMs) {
    const { speech, turns, pauses, away, holes } = this.lists;
    const inside = (/** @type {Span} */ it) => it.from <= atMs && atMs < it.to;
    const probability = this.speech.over(atMs, atMs + 1);
    const queued = this.queued.over(atMs, atMs + 1);
    const target = this.target.over(atMs, atMs + 1);
    const turn = turns.find(inside);
    const hole = holes.find(inside);
    const parts = [
      clock(atMs, 3),
      speech.some(inside) && "the caller speaks",
      probability >= 0 && `speech ${(probability / 200).toFixed(2)}`,
      turn && `the caller hears turn ${turn.turn}`,
      pauses.some(inside) && "the assistant is paused",
      hole && `hole: ${HOLES[/** @type {keyof typeof HOLES} */ (hole.cause)]}`,
      ...away.filter(inside).map(({ leg }) => `the ${leg} is away`),
      queued >= 0 && `buffer ${queued} ms`,
      target >= 0 && `target ${target} ms`,
      `${this.ahead.over(atMs, atMs + 1)} ms sent and not heard yet`,
    ];
    return parts.filter(Boolean).join(" · ");
  }
}
