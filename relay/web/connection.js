/**
 * One session over whatever transport works: a WebSocket, after a break the same session over a new one, after three
 * failures polling as well, for as long as the relay keeps the session, and back to a WebSocket when it can be had again.
 * Nothing is lost and nothing comes twice: upward because the relay says which sequence number it wants next, downward
 * because the client says which one it had.
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
const BACK_OFF_MOST_MS = 4_000;
/** How long a session waits for its client, where the relay does not tell. */
const GRACE_MS = 30_000;
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
    const { signal } = this.#over;
    addEventListener("online", () => this.#networkIsBack(), { signal });
    addEventListener("offline", () => this.#networkIsGone(), { signal });
    addEventListener("pagehide", ({ persisted }) => this.#pageGoes(persisted), { signal });
    addEventListener("pageshow", ({ persisted }) => persisted && this.#networkIsBack(), { signal });
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
  #over = new AbortController();
  /** Since when the session has been without a link, or null. @type {number | null} */
  #lostAt = null;
  /** Rises when a link is left: nothing that an older one still says or does counts. */
  #generation = 0;
  /** @type {ReturnType<typeof setTimeout> | undefined} */
  #upgrade;

  /** Begins a session over the first transport that works. Never throws: `onState` tells. */
  async open() {
    await this.#establish((isObsolete) => this.#begin(isObsolete));
  }

  /** @param {(isObsolete: () => boolean) => Promise<Link | null>} connect */
  async #establish(connect) {
    const generation = ++this.#generation;
    clearTimeout(this.#upgrade);
    try {
      const link = await connect(() => this.#over.signal.aborted || generation !== this.#generation);
      if (!link) return;
      this.#link = link;
      this.#lostAt = null;
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
    this.#over.abort();
    this.#generation++;
    clearTimeout(this.#upgrade);
    const link = this.#link;
    if (link) link.tell({ type: "stop" });
    else this.#sayGoodbye();
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
    if (this.#over.signal.aborted) return;
    await (this.#session ? this.#takeUp({ socket, atOnce: true }) : this.open());
  }

  /**
   * Looks for a link for the session that is without one.
   * @param {{socket?: WebSocket, atOnce?: boolean}} [how] `socket` is open already, and tried first
   */
  async #takeUp(how = {}) {
    this.#lostAt ??= performance.now();
    await this.#establish((isObsolete) => this.#resume(isObsolete, how));
  }

  /** What was tried while there was no network may hang for seconds yet: it is left. */
  #networkIsBack() {
    if (this.#session && !this.#link) void this.#takeUp({ atOnce: true });
  }

  /** The link is dead, whatever its socket looks like. */
  #networkIsGone() {
    if (this.#link) this.#link.drop();
    else if (this.#session) void this.#takeUp();
  }

  /**
   * A page that is kept (the back/forward cache of a browser, an app that is put aside) may come back and find the session
   * as it left it; if it does not, the session ends by itself. A page that is destroyed ends it now.
   * @param {boolean} isKept
   */
  #pageGoes(isKept) {
    if (!isKept) this.#sayGoodbye();
  }

  /** Ends the session by a request that outlives the page and needs no link. */
  #sayGoodbye() {
    const { url, network } = this.#options;
    if (this.#session) new HttpSession(url, this.#session, network).tell({ type: "stop" }).catch(() => {});
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
      const socket = await WebSocketLink.dial(this.#options.url, this.#options.network, this.#session?.sessionId);
      if (generation === this.#generation && !this.#forcePolling) await this.#change(socket);
      else socket.close();
    } catch {
      if (generation === this.#generation) this.#upgradeLater(nextAfterMs);
    }
  }

  /**
   * @param {() => boolean} isObsolete
   * @returns {Promise<Link | null>} null if it is obsolete
   */
  async #begin(isObsolete) {
    for (const [attempt, delayMs] of (this.#forcePolling ? [] : [0, ...BACK_OFF_MS]).entries()) {
      if (isObsolete()) return null;
      this.#tellState("connecting", "websocket", attempt);
      await backOff(delayMs);
      if (isObsolete()) return null;
      try {
        return await this.#openWebSocket(isObsolete);
      } catch (error) {
        if (/** @type {RelayError} */ (error).fatal) throw error;
      }
    }
    if (isObsolete()) return null;
    this.#tellState("connecting", "polling");
    return this.#openPolling(isObsolete);
  }

  /**
   * Throws RelayError: SESSION_GONE when the relay has forgotten the session, SERVER_GONE when it cannot be reached for as
   * long as it keeps one.
   * @param {() => boolean} isObsolete
   * @param {{socket?: WebSocket, atOnce?: boolean}} how
   * @returns {Promise<Link | null>} null if it is obsolete
   */
  async #resume(isObsolete, { socket, atOnce = false }) {
    const until = (this.#lostAt ?? performance.now()) + (this.#session?.graceMs ?? GRACE_MS);
    let overSocket = !this.#forcePolling;
    for (let attempt = 1; !isObsolete(); attempt++) {
      this.#tellState("reconnecting", overSocket ? "websocket" : "polling", attempt);
      const delayMs = attempt === 1 && atOnce ? 0 : (BACK_OFF_MS[attempt - 1] ?? BACK_OFF_MOST_MS);
      await backOff(Math.min(delayMs, Math.max(0, until - performance.now())));
      if (isObsolete()) return null;
      try {
        if (overSocket) return await this.#openWebSocket(isObsolete, attempt === 1 ? socket : undefined);
      } catch (error) {
        this.#follow(/** @type {RelayError} */ (error));
        overSocket = !(/** @type {RelayError} */ (error).fatal); // if so, the session cannot be resumed over a socket
      }
      if (isObsolete()) return null;
      if (!overSocket || attempt >= BACK_OFF_MS.length) {
        this.#tellState("reconnecting", "polling", attempt);
        try {
          return await this.#openPolling(isObsolete);
        } catch (error) {
          this.#follow(/** @type {RelayError} */ (error));
          if (/** @type {RelayError} */ (error).fatal || performance.now() > until) throw error;
        }
      }
    }
    return null;
  }

  /**
   * The session may go on in another process of the relay: there the next attempt asks.
   * @param {RelayError} error
   */
  #follow({ sessionId }) {
    if (sessionId && this.#session) this.#session = { ...this.#session, sessionId };
  }

  /**
   * @param {() => boolean} isObsolete
   * @param {WebSocket} [dialled]
   */
  async #openWebSocket(isObsolete, dialled) {
    const { url, start, network, log } = this.#options;
    const socket = dialled ?? (await WebSocketLink.dial(url, network, this.#session?.sessionId));
    if (isObsolete()) {
      socket.close();
      return null;
    }
    const resuming = this.#session && { resume: this.#session.resume, after: this.#cursor };
    const { link, ready } = await WebSocketLink.start(socket, { ...start, ...resuming }, this.#listen());
    this.#attach(ready);
    if (isObsolete()) {
      link.close();
      return null;
    }
    if (resuming) log.resumeAt(ready.next);
    return link;
  }

  /** @param {() => boolean} isObsolete */
  async #openPolling(isObsolete) {
    const { url, start, network, log } = this.#options;
    const session = this.#session ?? this.#attach(await HttpSession.start(url, start, network));
    if (isObsolete()) return null;
    const http = new HttpSession(url, session, network);
    try {
      log.resumeAt((await http.sendAudio(new Uint8Array())).next);
    } catch (error) {
      const { fatal } = /** @type {RelayError} */ (error);
      if (!fatal) throw error;
      if (!isObsolete()) this.#session = null;
      throw new RelayError("SESSION_GONE", "The conversation was interrupted for too long and could not be continued.");
    }
    return isObsolete() ? null : new PollingLink(http, this.#cursor, this.#listen());
  }

  /** @param {Ready} ready */
  #attach(ready) {
    const isNew = !this.#session; // one that goes on in another process of the relay has another id there
    this.#session = ready;
    if (this.#over.signal.aborted) {
      this.#sayGoodbye(); // there was no session yet when it was due
    } else if (isNew) {
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
    void this.#takeUp();
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

/** Waits about so long: clients that were cut off together do not come back together. @param {number} ms */
const backOff = (ms) => sleep(ms * (0.8 + 0.4 * Math.random()));
