/**
 * The page's bad network: messages are delayed or held on purpose, but they stay in order, as on a real connection.
 * @module
 */

import { sleep } from "./sleep.js";

/** @import { Network } from "./network.js" */

/** @implements {Network} */
export class NetworkLab {
  /** The longest random delay of each message, both ways. */
  jitterMs = 0;
  #stalledUntil = 0;

  /**
   * From now on nothing passes for `ms`; then all of it at once.
   * @param {number} ms
   */
  stall(ms) {
    this.#stalledUntil = performance.now() + ms;
  }

  /** Milliseconds that a message sent now would be delayed. */
  delayMs() {
    return Math.max(Math.random() * this.jitterMs, this.#stalledUntil - performance.now(), 0);
  }

  /**
   * Delays what is carried: a POST on its way up, the answer to anything else on its way down.
   * @param {URL} url
   * @param {RequestInit} init
   */
  async fetch(url, init) {
    const isUpward = init.method === "POST";
    if (isUpward) await this.#pass();
    const response = await fetch(url, init);
    if (!isUpward) await this.#pass();
    return response;
  }

  /** @param {URL} url */
  openSocket(url) {
    return new DelayedSocket(url, this);
  }

  async #pass() {
    const delayMs = this.delayMs();
    if (delayMs > 0) await sleep(delayMs);
  }
}

/** A WebSocket through the lab. */
class DelayedSocket extends WebSocket {
  /**
   * @param {URL} url
   * @param {NetworkLab} lab
   */
  constructor(url, lab) {
    super(url);
    this.#up = new Lane(lab);
    this.#down = new Lane(lab);
    this.addEventListener("message", (/** @type {MessageEvent<unknown>} */ event) =>
      this.#delay(event, new MessageEvent("message", { data: event.data })));
    this.addEventListener("close", (event) => this.#delay(event, new CloseEvent("close", event)));
  }

  #up;
  #down;

  /**
   * Lets nobody see the event before its copy comes out of the lane.
   * @param {Event} event
   * @param {Event} copy
   */
  #delay(event, copy) {
    if (!event.isTrusted) return; // a copy
    event.stopImmediatePropagation();
    this.#down.run(() => this.dispatchEvent(copy));
  }

  /**
   * @override
   * @param {string | ArrayBuffer} data
   */
  send(data) {
    this.#up.run(() => super.send(data));
  }

  /** @override */
  close() {
    this.#up.cut();
    this.#down.cut();
    super.close();
  }
}

/** A queue through the lab: its tasks run one after the other, each when its delay is over. */
export class Lane {
  /** @param {NetworkLab} lab */
  constructor(lab) {
    this.#lab = lab;
  }

  #lab;
  /** @type {{due: number, task: () => void}[]} */
  #waiting = [];
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #timer;

  /** @param {() => void} task */
  run(task) {
    const delayMs = this.#lab.delayMs();
    if (delayMs === 0 && this.#waiting.length === 0) {
      task();
      return;
    }
    this.#waiting.push({ due: performance.now() + delayMs, task });
    if (this.#waiting.length === 1) this.#arm();
  }

  /** What still waits is lost. */
  cut() {
    clearTimeout(this.#timer);
    this.#waiting = [];
  }

  #arm() {
    const waitMs = Math.max(0, this.#waiting[0].due - performance.now());
    this.#timer = setTimeout(() => this.#flush(), waitMs);
  }

  #flush() {
    while (this.#waiting.length && this.#waiting[0].due <= performance.now() + 0.5) {
      /** @type {{task: () => void}} */ (this.#waiting.shift()).task();
    }
    if (this.#waiting.length) this.#arm();
  }
}
