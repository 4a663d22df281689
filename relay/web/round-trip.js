/**
 * Asks the relay for a sign of life every few seconds. The time of the answer is the round trip; when two in a row fail to
 * come, the connection is dead, even if its socket still looks open. A browser cannot send WebSocket pings.
 * @module
 */

/** @import { Network } from "./network.js" */

const EVERY_MS = 2_500;
const LIMIT_MS = 4_000;
const FAILURES_MOST = 2;

export class RoundTrip {
  /**
   * @param {URL} url of the relay
   * @param {Network} network
   * @param {(ms: number) => void} onMeasured
   * @param {() => void} onDead
   */
  constructor(url, network, onMeasured, onDead) {
    this.#address = new URL("health", url);
    this.#network = network;
    this.#onMeasured = onMeasured;
    this.#onDead = onDead;
    void this.#probe();
  }

  #address;
  #network;
  #onMeasured;
  #onDead;
  #failures = 0;
  #stopped = false;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  async #probe() {
    const began = performance.now();
    const limit = new AbortController();
    const timer = setTimeout(() => limit.abort(), LIMIT_MS);
    try {
      // Any answer will do.
      await this.#network.fetch(this.#address, { signal: limit.signal, cache: "no-store", mode: "no-cors" });
      if (this.#stopped) return;
      this.#failures = 0;
      this.#onMeasured(performance.now() - began);
    } catch {
      if (++this.#failures === FAILURES_MOST && !this.#stopped) this.#onDead();
    } finally {
      clearTimeout(timer);
    }
    if (!this.#stopped) this.#timer = setTimeout(() => this.#probe(), EVERY_MS);
  }
}
