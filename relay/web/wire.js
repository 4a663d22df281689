/**
 * The messages between client and relay. Text is JSON; audio is a 12-byte header (big-endian uint32 sequence,
 * milliseconds, turn) with PCM behind it, or JSON with base64 in the answer to a poll.
 * @module
 */

const HEADER_BYTES = 12;

/** @typedef {"user" | "assistant"} Role */

/**
 * The first message of a session, and of each later WebSocket of that session; those carry the `resume` token and, in
 * `after`, the number of the last message had.
 * @typedef {{type: "start", sampleRate: number, channels: 1, encoding: "pcm_s16le", token?: string, resume?: string,
 *   after?: number}} StartMessage
 */

/**
 * @typedef {object} Ready the relay's answer to `start`
 * @property {"ready"} type
 * @property {string} sessionId
 * @property {string} token for HTTP requests of this session
 * @property {string} resume attaches the session to another WebSocket, once
 * @property {number} sampleRate of the audio to the client, Hz
 * @property {number} next the sequence number that the relay wants next
 * @property {number} [graceMs] how long the relay keeps the session when no connection carries it
 */

/**
 * @typedef {object} ErrorMessage something that the client did wrong, or that failed behind the relay
 * @property {"error"} type
 * @property {string} code
 * @property {string} error what happened and what to do
 * @property {"assistant" | "relay"} [leg] what failed, if it was nothing on this side
 * @property {string} [sessionId] of the session, which goes on in another process of the relay
 */

/**
 * @typedef {object} AudioMessage
 * @property {"audio"} type
 * @property {number} n sequence number
 * @property {number} ms milliseconds since the start of the session
 * @property {number} turn of the assistant
 * @property {Int16Array} pcm mono samples
 */

/** @typedef {{type: "audio", seq: number, ms: number, turn: number, audio: string}} JsonAudio */

/**
 * Text from the relay once the session has begun. `n` is its number in the same sequence as the audio's; a message that
 * belongs to the connection, not to the session, has none.
 * @typedef {{n?: number} & (
 *   | {type: "interrupt" | "resumed", turn: number}
 *   | {type: "partial" | "final", role: Role, text: string}
 *   | {type: "speech", role: Role, status: "started" | "stopped"}
 *   | {type: "state", status: "live" | "reconnecting" | "degraded" | "ended", reason: string}
 *   | ErrorMessage)} TextMessage
 */

/** @typedef {AudioMessage | TextMessage} Message from the relay */

/** @typedef {{type: "played", turn: number, ms: number} | {type: "stop"}} ClientMessage */

/**
 * A binary message of the caller's audio.
 * @param {number} sequence
 * @param {number} ms milliseconds since the start of the session
 * @param {Int16Array} pcm mono samples
 * @returns {ArrayBuffer}
 */
export function encodeFrame(sequence, ms, pcm) {
  const bytes = new ArrayBuffer(HEADER_BYTES + pcm.byteLength);
  const header = new DataView(bytes);
  header.setUint32(0, sequence);
  header.setUint32(4, ms);
  header.setUint32(8, 0); // no turn: those are the assistant's
  new Int16Array(bytes, HEADER_BYTES).set(pcm);
  return bytes;
}

/**
 * @param {ArrayBuffer} bytes
 * @returns {AudioMessage}
 */
export function decodeFrame(bytes) {
  const header = new DataView(bytes);
  const samples = (bytes.byteLength - HEADER_BYTES) >> 1;
  return {
    type: "audio",
    n: header.getUint32(0),
    ms: header.getUint32(4),
    turn: header.getUint32(8),
    pcm: new Int16Array(bytes, HEADER_BYTES, samples),
  };
}

/**
 * The body of `POST .../audio`: each message with its length in front.
 * @param {ArrayBuffer[]} frames
 * @returns {Uint8Array<ArrayBuffer>}
 */
export function encodeBatch(frames) {
  const body = new Uint8Array(frames.reduce((total, frame) => total + 4 + frame.byteLength, 0));
  const view = new DataView(body.buffer);
  let at = 0;
  for (const frame of frames) {
    view.setUint32(at, frame.byteLength);
    body.set(new Uint8Array(frame), at + 4);
    at += 4 + frame.byteLength;
  }
  return body;
}

/**
 * @param {JsonAudio} message
 * @returns {AudioMessage}
 */
export function decodeJsonAudio({ seq, ms, turn, audio }) {
  const bytes = Uint8Array.from(atob(audio), (character) => character.charCodeAt(0));
  return { type: "audio", n: seq, ms, turn, pcm: new Int16Array(bytes.buffer, 0, bytes.length >> 1) };
}
