/**
 * A session's audio and messages over plain HTTP requests.
 * @module
 */

import { sleep } from "./sleep.js";
import { decodeJsonAudio, encodeBatch } from "./wire.js";

/** @import { RelayError } from "./errors.js" */
/** @import { HttpSession } from "./http-session.js" */
/** @import { UplinkLog } from "./uplink-log.js" */
/** @import { LinkListener } from "./websocket-link.js" */
/** @import { ClientMessage } from "./wire.js" */

/** Audio is collected for so long before the first request. */
const BATCH_MS = 80;
const BATCH_MOST_FRAMES = 25;
const FAILURES_MOST = 3;
const BACK_OFF_MS = 300;

export class PollingLink {
  kind = /** @type {const} */ ("polling");

  /**
   * @param {HttpSession} http
   * @param {number} cursor the number of the last message had from the relay
   * @param {LinkListener} listener
   */
  constructor(http, cursor, listener) {
    this.#http = http;
    this.#cursor = cursor;
    this.#listener = listener;
    this.#stop = new AbortController();
    this.#receiving = this.#receive();
  }

  #http;
  #cursor;
  #listener;
  #stop;
  #receiving;
  /** @type {Promise<void> | null} */
  #sending = null;

  /** @param {UplinkLog} log */
  pump(log) {
    this.#sending ??= this.#send(log).finally(() => (this.#sending = null));
  }

  /** @param {ClientMessage} message */
  tell(message) {
    this.#http.tell(message).catch(() => {}); // a later report says more
  }

  /** Treats the link as lost. */
  drop() {
    this.#end("lost");
  }

  /** Ends the link on purpose, after the request under way: the next link begins where this one ended. */
  async close() {
    this.#end("closed");
    await Promise.allSettled([this.#sending, this.#receiving]);
  }

  /** @param {UplinkLog} log */
  async #send(log) {
    await sleep(BATCH_MS);
    while (!this.#stop.signal.aborted) {
      const frames = log.take(BATCH_MOST_FRAMES);
      if (!frames.length) return;
      const answer = await this.#persist(() => this.#http.sendAudio(encodeBatch(frames)));
      if (answer) log.resumeAt(answer.next);
    }
  }

  async #receive() {
    while (!this.#stop.signal.aborted) {
      const answer = await this.#persist(() => this.#http.receive(this.#cursor, this.#stop.signal));
      if (!answer || this.#stop.signal.aborted) return;
      for (const message of answer.messages) {
        this.#listener.onMessage(message.type === "audio" ? decodeJsonAudio(message) : message);
      }
      this.#cursor = Math.max(this.#cursor, answer.next);
    }
  }

  /**
   * Tries a request again until it fails too often, which ends the link.
   * @template T
   * @param {() => Promise<T>} request
   * @returns {Promise<T | undefined>}
   */
  async #persist(request) {
    for (let failures = 1; !this.#stop.signal.aborted; failures++) {
      try {
        return await request();
      } catch (error) {
        if (this.#stop.signal.aborted) return undefined;
        if (/** @type {RelayError} */ (error).fatal) this.#end("gone");
        else if (failures === FAILURES_MOST) this.#end("lost");
        else await sleep(BACK_OFF_MS * failures);
      }
    }
    return undefined;
  }

  /** @param {"lost" | "gone" | "closed"} why */
  #end(why) {
    if (this.#stop.signal.aborted) return;
    this.#stop.abort();
    this.#listener.onEnd(why);
  }
}
