/**
 * A value for each step of time, with levels of detail: any stretch is read in a few steps, however long it is.
 * @module
 */

const GROUP = 4;

/** @typedef {{step_ms: number, type: string, values: string}} TrackData */

/**
 * The bytes of a base64 text.
 * @param {string} base64
 */
export function bytesOf(base64) {
  const text = atob(base64);
  const bytes = new Uint8Array(text.length);
  for (let at = 0; at < bytes.length; at++) bytes[at] = text.charCodeAt(at);
  return bytes;
}

export class Track {
  /**
   * @param {TrackData} data little-endian; the highest value of an unsigned type says that nothing is known
   * @param {(a: number, b: number) => number} pick which of two values a wider step shows: Math.min or Math.max
   */
  constructor(data, pick = Math.max) {
    this.#stepMs = data.step_ms;
    this.#pick = pick;
    this.#levels = [numbersOf(data)];
    for (let below = this.#levels[0]; below.length > GROUP; below = this.#levels[this.#levels.length - 1]) {
      this.#levels.push(this.#coarser(below));
    }
  }

  #stepMs;
  #pick;
  /** @type {Int32Array[]} */
  #levels;

  /**
   * The extreme value between two times; -1 where nothing is known.
   * @param {number} fromMs
   * @param {number} toMs
   */
  over(fromMs, toMs) {
    let level = 0;
    let step = this.#stepMs;
    while (level + 1 < this.#levels.length && step * GROUP <= toMs - fromMs) {
      level += 1;
      step *= GROUP;
    }
    const values = this.#levels[level];
    const first = Math.max(0, Math.floor(fromMs / step));
    const last = Math.min(values.length - 1, Math.max(first, Math.ceil(toMs / step) - 1));
    if (first > last) return -1;
    let found = values[first];
    for (let at = first + 1; at <= last; at++) found = this.#pick(found, values[at]);
    return found;
  }

  /** @param {Int32Array} below */
  #coarser(below) {
    const above = new Int32Array(Math.ceil(below.length / GROUP));
    for (let at = 0; at < above.length; at++) {
      let found = below[at * GROUP];
      const end = Math.min(below.length, (at + 1) * GROUP);
      for (let from = at * GROUP + 1; from < end; from++) found = this.#pick(found, below[from]);
      above[at] = found;
    }
    return above;
  }
}

/** @param {TrackData} data */
function numbersOf({ type, values }) {
  const { buffer } = bytesOf(values);
  if (type === "int8") return Int32Array.from(new Int8Array(buffer));
  const numbers = type === "uint8" ? new Uint8Array(buffer) : new Uint16Array(buffer);
  const unknown = type === "uint8" ? 0xff : 0xffff;
  return Int32Array.from(numbers, (value) => (value === unknown ? -1 : value));
}
