/**
 * Makes a good network bad: messages are delayed, held or cut, but as on a real connection they stay in order.
 * @module
 */

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

  /** Waits as long as a message would. */
  async pass() {
    const delayMs = this.delayMs();
    if (delayMs > 0) await sleep(delayMs);
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

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
