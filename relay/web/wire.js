/**
 * The bytes of the browser leg: a 12-byte header (big-endian uint32 sequence, milliseconds, turn), then PCM.
 * @module
 */

export const HEADER_BYTES = 12;

/**
 * @typedef {object} AudioMessage
 * @property {"audio"} type
 * @property {number} n sequence number
 * @property {number} ms milliseconds since the start of the session
 * @property {number} turn 0 for the caller, the assistant's turn otherwise
 * @property {Int16Array} pcm mono samples
 */

/**
 * One binary message.
 * @param {number} sequence
 * @param {number} ms
 * @param {number} turn
 * @param {Int16Array} pcm
 * @returns {ArrayBuffer}
 */
export function encodeFrame(sequence, ms, turn, pcm) {
  const bytes = new ArrayBuffer(HEADER_BYTES + pcm.byteLength);
  const header = new DataView(bytes);
  header.setUint32(0, sequence);
  header.setUint32(4, ms);
  header.setUint32(8, turn);
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
 * An audio message as polling delivers it.
 * @param {{n?: number, seq: number, ms: number, turn: number, audio: string}} message
 * @returns {AudioMessage}
 */
export function decodeJsonAudio(message) {
  const text = atob(message.audio);
  const bytes = Uint8Array.from(text, (character) => character.charCodeAt(0));
  const pcm = new Int16Array(bytes.buffer, 0, bytes.length >> 1);
  return { type: "audio", n: message.n ?? message.seq, ms: message.ms, turn: message.turn, pcm };
}
