/**
 * One session over whatever transport works: a WebSocket, after a break the same session over a new one, after three
 * failures polling, and back to a WebSocket when it can be had again. Nothing is lost and nothing comes twice: upward
 * because the relay says which sequence number it wants next, downward because the client says which one it had.
 * @module
 */

import { RelayError } from "./errors.js";
import { HttpSession } from "./http-session.js";
import { PollingLink } from "./polling-link.js";
import { sleep } from "./sleep.js";
import { WebSocketLink } from "./websocket-link.js";

/** @import { Network } from "./network.js" */
/** @import { UplinkLog } from "./uplink-log.js" */
/** @import { LinkListener } from "./websocket-link.js" */
/** @import { ClientMessage, Message, Ready, StartMessage } from "./wire.js" */

const BACK_OFF_MS = [300, 1_000, 2_500];
const UPGRADE_AFTER_MS = 15_000;
const UPGRADE_AFTER_MOST_MS = 120_000;

/** @typedef {WebSocketLink | PollingLink} Link one connection over one transport; a session goes from link to link */
/** @typedef {{status: "connecting" | "reconnecting" | "live" | "lost" | "closed", transport: "websocket" | "polling",
 *   attempt: number, error?: RelayError}} LinkState */

/**
 * @typedef {object} ConnectionOptions
 * @property {URL} url of the relay
 * @property {StartMessage} start for a new session
 * @property {Network} network
 * @property {UplinkLog} log
 * @property {boolean} forcePolling
 * @property {(ready: Ready) => void} onSession a new session began
 * @property {(message: Message) => void} onMessage each downward message once, in order
 * @property {(state: LinkState) => void} onState
 */

export class Connection {
  /** @param {ConnectionOptions} options */
  constructor(options) {
    this.#options = options;
    this.#forcePolling = options.forcePolling;
  }

  /** Messages from the relay that came twice and were dropped. */
  duplicates = 0;

  #options;
  #forcePolling;
  /** @type {Ready | null} */
  #session = null;
  /** @type {Link | null} */
  #link = null;
  /** The number of the last message had from the relay. */
  #cursor = 0;
  #closed = false;
  /** Rises when a link is left: nothing that an older one still says or does counts. */
  #generation = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #upgrade;

  /**
   * Tries one transport after the other until one works. Never throws: `onState` tells.
   * @param {WebSocket} [socket] is open already, and tried first
   */
  async open(socket) {
    const generation = ++this.#generation;
    clearTimeout(this.#upgrade);
    try {
      const link = await this.#connect(() => this.#closed || generation !== this.#generation, socket);
      if (!link) return;
      this.#link = link;
      this.#tellState("live", link.kind);
      link.pump(this.#options.log);
      if (link.kind === "polling" && !this.#forcePolling) this.#upgradeLater(UPGRADE_AFTER_MS);
    } catch (error) {
      if (generation === this.#generation) this.#tellState("lost", "polling", 0, /** @type {RelayError} */ (error));
    }
  }

  /** There is new audio in the log. */
  pump() {
    this.#link?.pump(this.#options.log);
  }

  /** @param {ClientMessage} message dropped while there is no connection */
  tell(message) {
    this.#link?.tell(message);
  }

  /** Treats the link as lost, and looks for a new one. */
  drop() {
    this.#link?.drop();
  }

  /** @param {boolean} on */
  async forcePolling(on) {
    if (on === this.#forcePolling) return;
    this.#forcePolling = on;
    if (on) await this.#change();
    else if (this.#link?.kind === "polling") await this.#upgradeNow(UPGRADE_AFTER_MS);
  }

  /** Says goodbye and ends the session. */
  async close() {
    this.#closed = true;
    this.#generation++;
    clearTimeout(this.#upgrade);
    const link = this.#link;
    link?.tell({ type: "stop" });
    this.#link = null;
    if (link?.kind === "websocket") await sleep(50); // a message sent right before the close may be lost with it
    await link?.close();
    this.#tellState("closed", link?.kind ?? "websocket");
  }

  /**
   * Leaves the link for another one.
   * @param {WebSocket} [socket]
   */
  async #change(socket) {
    const link = this.#link;
    this.#link = null;
    this.#generation++;
    await link?.close();
    if (!this.#closed) await this.open(socket);
  }

  /** @param {number} afterMs */
  #upgradeLater(afterMs) {
    clearTimeout(this.#upgrade);
    this.#upgrade = setTimeout(() => this.#upgradeNow(Math.min(afterMs * 2, UPGRADE_AFTER_MOST_MS)), afterMs);
  }

  /**
   * From polling to a WebSocket; polling goes on until one is open.
   * @param {number} nextAfterMs
   */
  async #upgradeNow(nextAfterMs) {
    const generation = this.#generation;
    try {
      const socket = await WebSocketLink.dial(this.#options.url, this.#options.network);
      if (generation === this.#generation && !this.#forcePolling) await this.#change(socket);
      else socket.close();
    } catch {
      if (generation === this.#generation) this.#upgradeLater(nextAfterMs);
    }
  }

  /**
   * @param {() => boolean} isObsolete
   * @param {WebSocket} [socket]
   * @returns {Promise<Link | null>}
   */
  async #connect(isObsolete, socket) {
    const isNew = this.#session === null;
    const atOnce = isNew || socket !== undefined;
    const delays = this.#forcePolling ? [] : atOnce ? [0, ...BACK_OFF_MS] : BACK_OFF_MS;
    for (const [attempt, delayMs] of delays.entries()) {
      this.#tellState(isNew ? "connecting" : "reconnecting", "websocket", attempt + (atOnce ? 0 : 1));
      await sleep(delayMs * (0.8 + 0.4 * Math.random()));
      if (isObsolete()) return null;
      try {
        return await this.#openWebSocket(isObsolete, attempt === 0 ? socket : undefined);
      } catch (error) {
        const { fatal } = /** @type {RelayError} */ (error);
        if (fatal && isNew) throw error;
        if (fatal) break; // this session cannot be resumed over a socket
      }
    }
    if (isObsolete()) return null;
    this.#tellState(isNew ? "connecting" : "reconnecting", "polling");
    return this.#openPolling(isObsolete);
  }

  /**
   * @param {() => boolean} isObsolete
   * @param {WebSocket} [dialled]
   */
  async #openWebSocket(isObsolete, dialled) {
    const { url, start, network, log } = this.#options;
    const socket = dialled ?? (await WebSocketLink.dial(url, network));
    const resuming = this.#session && { resume: this.#session.resume, after: this.#cursor };
    const { link, ready } = await WebSocketLink.start(socket, { ...start, ...resuming }, this.#listen());
    this.#attach(ready);
    if (resuming) log.resumeAt(ready.next);
    if (!isObsolete()) return link;
    link.close();
    return null;
  }

  /** @param {() => boolean} isObsolete */
  async #openPolling(isObsolete) {
    const { url, start, network, log } = this.#options;
    const session = this.#session ?? this.#attach(await HttpSession.start(url, start, network));
    const http = new HttpSession(url, session, network);
    try {
      log.resumeAt((await http.sendAudio(new Uint8Array())).next);
    } catch (error) {
      const { fatal } = /** @type {RelayError} */ (error);
      if (!fatal) throw error;
      this.#session = null;
      throw new RelayError("SESSION_GONE", "The conversation was interrupted for too long and could not be continued.");
    }
    return isObsolete() ? null : new PollingLink(http, this.#cursor, this.#listen());
  }

  /** @param {Ready} ready */
  #attach(ready) {
    const isNew = this.#session?.sessionId !== ready.sessionId;
    this.#session = ready;
    if (isNew) {
      this.#cursor = 0;
      this.#options.onSession(ready);
    }
    return ready;
  }

  /** @returns {LinkListener} */
  #listen() {
    const generation = this.#generation;
    return {
      onMessage: (message) => {
        if (generation === this.#generation) this.#receive(message);
      },
      onEnd: (why) => {
        if (generation === this.#generation && why !== "closed") this.#broken();
      },
    };
  }

  #broken() {
    this.#link = null;
    void this.open();
  }

  /** @param {Message} message */
  #receive(message) {
    if (message.n !== undefined) {
      if (message.n <= this.#cursor) {
        this.duplicates++;
        return;
      }
      this.#cursor = message.n;
    }
    this.#options.onMessage(message);
  }

  /**
   * @param {LinkState["status"]} status
   * @param {LinkState["transport"]} transport
   * @param {RelayError} [error]
   */
  #tellState(status, transport, attempt = 0, error) {
    this.#options.onState({ status, transport, attempt, error });
  }
}
