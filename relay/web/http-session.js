/**
 * The HTTP requests of a session.
 * @module
 */

import { RelayError } from "./errors.js";

/** @import { Network } from "./network.js" */
/** @import { ClientMessage, ErrorMessage, JsonAudio, Ready, StartMessage, TextMessage } from "./wire.js" */

const REQUEST_LIMIT_MS = 5_000;
/** The relay holds a GET for up to 10 s. */
const WAIT_LIMIT_MS = 15_000;

export class HttpSession {
  /**
   * @param {URL} url of the relay
   * @param {Ready} ready
   * @param {Network} network
   */
  constructor(url, ready, network) {
    this.#base = new URL(`client/${encodeURIComponent(ready.sessionId)}/`, url);
    this.#token = ready.token;
    this.#network = network;
  }

  #base;
  #token;
  #network;

  /**
   * Begins a session without a WebSocket.
   * @param {URL} url
   * @param {StartMessage} start
   * @param {Network} network
   * @returns {Promise<Ready>}
   */
  static async start(url, start, network) {
    return /** @type {Ready} */ (await request(network, new URL("client", url), json(start), REQUEST_LIMIT_MS));
  }

  /**
   * Sends audio; with an empty body it only asks what the relay wants next.
   * @param {Uint8Array<ArrayBuffer>} body
   * @returns {Promise<{received: number, next: number}>}
   */
  async sendAudio(body) {
    const init = { method: "POST", body, headers: { "Content-Type": "application/octet-stream" } };
    return /** @type {{received: number, next: number}} */ (await this.#request("audio", init));
  }

  /**
   * Waits for messages.
   * @param {number} after the number of the last one had
   * @param {AbortSignal} [signal]
   * @returns {Promise<{next: number, messages: (JsonAudio | TextMessage)[]}>}
   */
  async receive(after, signal) {
    const answer = await this.#request(`audio?after=${after}`, { method: "GET" }, signal, WAIT_LIMIT_MS);
    return /** @type {{next: number, messages: (JsonAudio | TextMessage)[]}} */ (answer);
  }

  /** @param {ClientMessage} message */
  async tell(message) {
    await this.#request("messages", { ...json(message), keepalive: true });
  }

  /**
   * @param {string} path
   * @param {RequestInit} init
   * @param {AbortSignal} [signal]
   */
  #request(path, init, signal, limitMs = REQUEST_LIMIT_MS) {
    const headers = new Headers(init.headers);
    headers.set("Authorization", `Bearer ${this.#token}`);
    return request(this.#network, new URL(path, this.#base), { ...init, headers }, limitMs, signal);
  }
}

/** @param {object} value @returns {RequestInit} */
function json(value) {
  return { method: "POST", body: JSON.stringify(value), headers: { "Content-Type": "application/json" } };
}

/**
 * @param {Network} network
 * @param {URL} url
 * @param {RequestInit} init
 * @param {number} limitMs
 * @param {AbortSignal} [signal]
 * @returns {Promise<unknown>} the answer's JSON; RelayError with the relay's code, or SERVER_GONE
 */
async function request(network, url, init, limitMs, signal) {
  const limit = new AbortController();
  const timer = setTimeout(() => limit.abort(), limitMs);
  const stop = () => limit.abort();
  signal?.addEventListener("abort", stop);
  try {
    const response = await network.fetch(url, { ...init, signal: limit.signal, cache: "no-store" });
    if (!response.ok) throw await refusal(response);
    /** @type {unknown} */
    const answer = await response.json();
    return answer;
  } catch (error) {
    if (error instanceof RelayError) throw error;
    throw serverGone();
  } finally {
    clearTimeout(timer);
    signal?.removeEventListener("abort", stop);
  }
}

/** @param {Response} response */
async function refusal(response) {
  /** @type {unknown} */
  const answer = await response.json().catch(() => ({}));
  const { code, error, sessionId } = /** @type {Partial<ErrorMessage>} */ (answer);
  if (!code && response.status >= 500) return serverGone(); // a proxy speaks for it
  const fatal = response.status < 500 && response.status !== 429 && !sessionId;
  return new RelayError(code ?? `HTTP_${response.status}`, error ?? `The server answered ${response.status}.`, { fatal, sessionId });
}

function serverGone() {
  return new RelayError("SERVER_GONE", "The server does not answer.", { fatal: false });
}
