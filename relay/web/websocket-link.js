/**
 * A session's audio and messages over a WebSocket.
 * @module
 */

import { RelayError } from "./errors.js";
import { decodeFrame } from "./wire.js";

/** @import { Network } from "./network.js" */
/** @import { UplinkLog } from "./uplink-log.js" */
/** @import { ClientMessage, ErrorMessage, Message, Ready, StartMessage, TextMessage } from "./wire.js" */

const HANDSHAKE_LIMIT_MS = 5_000;
/** What the browser holds unsent; beyond, audio waits in the log, where an outage does not lose it. */
const BUFFERED_MOST_BYTES = 128 * 1024;
/** A socket that takes nothing for so long is lost. */
const STUCK_MS = 4_000;
const RETRY_MS = 50;

/**
 * @typedef {object} LinkListener
 * @property {(message: Message) => void} onMessage in order
 * @property {(why: "lost" | "gone" | "closed") => void} onEnd `gone`: the relay does not know the session
 */

export class WebSocketLink {
  kind = /** @type {const} */ ("websocket");

  /**
   * Opens a socket. Throws RelayError SERVER_GONE when that fails or takes too long.
   * @param {URL} url of the relay
   * @param {Network} network
   * @param {string} [sessionId] of the session to resume: a load balancer finds its process by the address
   * @returns {Promise<WebSocket>}
   */
  static dial(url, network, sessionId) {
    const address = new URL(sessionId ? `client/${encodeURIComponent(sessionId)}` : "client", url);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const socket = network.openSocket(address);
    socket.binaryType = "arraybuffer";
    return answered(socket, (done) => (socket.onopen = () => done(socket)));
  }

  /**
   * Sends `start` and waits for `ready`.
   *
   * Throws RelayError: with the relay's code and `fatal` if it refused, with SERVER_GONE otherwise.
   * @param {WebSocket} socket
   * @param {StartMessage} start
   * @param {LinkListener} listener
   * @returns {Promise<{link: WebSocketLink, ready: Ready}>}
   */
  static start(socket, start, listener) {
    return answered(socket, (done, fail) => {
      socket.onmessage = (/** @type {MessageEvent<string | ArrayBuffer>} */ { data }) => {
        const message = typeof data === "string" ? /** @type {Ready | ErrorMessage} */ (JSON.parse(data)) : null;
        if (message?.type === "error") fail(refusalOf(message));
        else if (message?.type === "ready") done({ link: new WebSocketLink(socket, listener), ready: message });
      };
      socket.send(JSON.stringify(start));
    });
  }

  /**
   * @param {WebSocket} socket
   * @param {LinkListener} listener
   */
  constructor(socket, listener) {
    this.#socket = socket;
    this.#listener = listener;
    socket.onmessage = (/** @type {MessageEvent<string | ArrayBuffer>} */ { data }) => this.#receive(data);
    socket.onclose = () => this.#end("lost");
  }

  #socket;
  #listener;
  #ended = false;
  #stuckSince = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #retry;

  /**
   * Sends what the log holds, as far as the connection takes it.
   * @param {UplinkLog} log
   */
  pump(log) {
    clearTimeout(this.#retry);
    while (!this.#ended && this.#socket.bufferedAmount < BUFFERED_MOST_BYTES) {
      this.#stuckSince = 0;
      const [frame] = log.take(1);
      if (!frame) return;
      this.#send(frame);
    }
    if (this.#ended) return;
    this.#stuckSince ||= performance.now();
    if (performance.now() - this.#stuckSince > STUCK_MS) this.drop();
    else this.#retry = setTimeout(() => this.pump(log), RETRY_MS);
  }

  /** @param {ClientMessage} message */
  tell(message) {
    this.#send(JSON.stringify(message));
  }

  /** Treats the link as lost. */
  drop() {
    this.#end("lost");
  }

  /** Ends the link on purpose; the session goes on. */
  close() {
    this.#end("closed");
  }

  /** @param {string | ArrayBuffer} data */
  #send(data) {
    if (this.#socket.readyState === this.#socket.OPEN) this.#socket.send(data);
  }

  /** @param {string | ArrayBuffer} data */
  #receive(data) {
    const message = typeof data === "string" ? /** @type {TextMessage} */ (JSON.parse(data)) : decodeFrame(data);
    this.#listener.onMessage(message);
  }

  /** @param {"lost" | "closed"} why */
  #end(why) {
    if (this.#ended) return;
    this.#ended = true;
    clearTimeout(this.#retry);
    this.#socket.onmessage = this.#socket.onclose = null;
    this.#socket.close();
    this.#listener.onEnd(why);
  }
}

/** @param {ErrorMessage} message in place of `ready` */
function refusalOf({ code, error, sessionId }) {
  return new RelayError(code, error, { sessionId });
}

/**
 * Waits for a step of the handshake; closes the socket when it fails or takes too long.
 * @template T
 * @param {WebSocket} socket
 * @param {(done: (value: T) => void, fail: (error: RelayError) => void) => void} step
 * @returns {Promise<T>}
 */
function answered(socket, step) {
  return new Promise((resolve, reject) => {
    const fail = (/** @type {RelayError} */ error) => {
      clearTimeout(limit);
      socket.onopen = socket.onmessage = socket.onclose = null;
      socket.close();
      reject(error);
    };
    const gone = () => fail(new RelayError("SERVER_GONE", "The server does not answer.", { fatal: false }));
    const limit = setTimeout(gone, HANDSHAKE_LIMIT_MS);
    socket.onclose = gone;
    const done = (/** @type {T} */ value) => {
      clearTimeout(limit);
      resolve(value);
    };
    step(done, fail);
  });
}
