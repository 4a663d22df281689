/**
 * The messages between the page and its two audio worklets, as types only: nothing of this runs.
 * @module
 */

/**
 * @typedef {object} CapturedAudio from the capture worklet, every 20 ms; any message to it ends it
 * @property {Int16Array} pcm mono samples at the context's rate
 * @property {number} ms time of its first sample
 * @property {number} durationMs
 * @property {number} level RMS, 0 to 1
 */

/**
 * To the playback worklet. `link`: audio comes by another connection from now on; `tap`: whether to send `played`.
 * @typedef {{type: "audio", turn: number, ms: number, pcm: Int16Array}
 *   | {type: "interrupt", turn: number}
 *   | {type: "link"}
 *   | {type: "tap", on: boolean}
 *   | {type: "close"}} PlaybackCommand
 */

/**
 * From the playback worklet: `status` ten times a second, `flushed` after an interruption, `played` while tapped.
 * @typedef {{type: "status", body: PlaybackStatus}
 *   | {type: "flushed", body: Flushed}
 *   | {type: "played", body: PlayedBlock}} PlaybackEvent
 */

/**
 * @typedef {object} PlaybackStatus
 * @property {number} turn the one that is played, or was last
 * @property {number} heardMs how much of it was played
 * @property {number} bufferMs what waits to be played
 * @property {number} targetMs how much is buffered before playing begins
 * @property {boolean} isPlaying
 * @property {number} level RMS since the last status, 0 to 1
 * @property {{holes: number, holeMs: number, staleFrames: number, overflowFrames: number}} counts since the beginning
 */

/**
 * @typedef {object} Flushed
 * @property {number} turn the one that was interrupted
 * @property {number} flushedMs what was dropped
 * @property {number} heardMs what had been played of the turn
 * @property {number} frame of the context's clock, from which on it is silent (plus a 5 ms fade)
 */

/**
 * @typedef {object} PlayedBlock a piece of the output
 * @property {number} frame of its first sample, by the context's clock
 * @property {number} wallMs `Date.now()` when its last sample was rendered
 * @property {Float32Array} samples
 */

export {};
