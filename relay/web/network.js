/**
 * The client's only ways to the relay: HTTP requests and WebSockets. A page may give it others than the browser's own.
 * @module
 */

/**
 * @typedef {object} Network
 * @property {(url: URL, init: RequestInit) => Promise<Response>} fetch as the function of that name does
 * @property {(url: URL) => WebSocket} openSocket as `new WebSocket` does
 */

/** @type {Network} */
export const BROWSER_NETWORK = {
  fetch: (url, init) => fetch(url, init),
  openSocket: (url) => new WebSocket(url),
};
