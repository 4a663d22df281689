/**
 * A voice conversation with a relay, from any web page:
 *
 *     import { RelayClient } from "https://relay.example.com/web/relay-client.js";
 *     const client = new RelayClient({ url: "https://relay.example.com/" });
 *     client.on("final", ({ role, text }) => console.log(role, text));
 *     button.onclick = () => client.start();
 *
 * It captures the microphone, plays the assistant, and keeps the session through outages, by a WebSocket or by HTTP
 * polling, for as long as the relay keeps it. After that `state` says "lost", and `start()` begins a new conversation.
 * @module
 */

import { checkSupport, ConversationAudio } from "./audio.js";
import { Connection } from "./connection.js";
import { RelayError } from "./errors.js";
import { BROWSER_NETWORK } from "./network.js";
import { RoundTrip } from "./round-trip.js";
import { UplinkLog } from "./uplink-log.js";

/** @import { AudioListener, AudioStatus } from "./audio.js" */
/** @import { LinkState } from "./connection.js" */
/** @import { Network } from "./network.js" */
/** @import { Message, Ready, Role } from "./wire.js" */
/** @import { CapturedAudio, Flushed, PlaybackStatus, PlayedBlock } from "./worklet-messages.js" */

export { checkSupport, RelayError };

const PLAYED_EVERY_MS = 250;
const LEVELS_EVERY_MS = 50;

/** No conversation is on: one may begin. @type {Set<Status>} */
const RESTING = new Set(["idle", "lost", "ended"]);

/**
 * @typedef {object} RelayClientOptions
 * @property {string | URL} [url] of the relay; by default that of the page
 * @property {string} [token] from `POST /client/token`, where the relay asks for one
 * @property {number} [sampleRate] of the AudioContext; by default the device's
 * @property {boolean} [forcePolling] no WebSocket
 * @property {Network} [network] that carries all requests and sockets; by default the browser's own
 *
 * @typedef {"idle" | "starting" | "connecting" | "live" | "reconnecting" | "lost" | "ended"} Status
 *
 * @typedef {object} Events
 * @property {{status: Status, transport: "websocket" | "polling" | null, attempt: number, reason: string}} state of this
 *   client and its connection; the `reason` is "offline" while it reconnects on a device without a network
 * @property {{status: AudioStatus}} audio whether the microphone and the loudspeaker work
 * @property {{status: "live" | "reconnecting" | "degraded" | "ended", reason: string}} call what the relay says of the call:
 *   no assistant listens while "reconnecting"; "degraded" is over polling, or with another assistant than the first
 * @property {{role: Role, text: string}} partial
 * @property {{role: Role, text: string}} final
 * @property {{role: Role, status: "started" | "stopped"}} speech
 * @property {{turn: number}} interrupt the relay stopped the assistant
 * @property {Flushed} flushed what an interruption dropped on this side
 * @property {{turn: number}} resumed it was no interruption: what was dropped of the turn plays after all
 * @property {{input: number, output: number}} level RMS, 0 to 1
 * @property {{ms: number, targetMs: number, holes: number, holeMs: number, staleFrames: number, overflowFrames: number}}
 *   buffer of the assistant's audio
 * @property {{ms: number}} rtt round trip to the relay
 * @property {{waitingMs: number, lostMs: number, resentFrames: number}} uplink what the microphone said and is not sent
 * @property {RelayError} error with `code`; `fatal` when the conversation cannot go on
 */

export class RelayClient {
  /** @param {RelayClientOptions} [options] */
  constructor(options = {}) {
    this.#options = options;
    this.#url = new URL(options.url ?? "/", globalThis.location?.href);
    this.#network = options.network ?? BROWSER_NETWORK;
    this.#forcePolling = options.forcePolling ?? false;
  }

  /** For a recorder or a test: set before `start`, it is called with each piece of the output.
   * @type {((block: PlayedBlock) => void) | null} */
  onPlayed = null;
  /** The same for each piece of the microphone's audio.
   * @type {((audio: CapturedAudio) => void) | null} */
  onCaptured = null;

  #options;
  #url;
  #network;
  #forcePolling;
  #log = new UplinkLog();
  /** @type {Map<keyof Events, Set<(event: never) => void>>} */
  #listeners = new Map();
  /** @type {ConversationAudio | null} */
  #audio = null;
  /** @type {Connection | null} */
  #connection = null;
  /** @type {RoundTrip | null} */
  #roundTrip = null;
  /** @type {Status} */
  #status = "idle";
  #inSession = false;
  /** Rises with each start and end: an older one that still waits for the microphone does not count. */
  #conversation = 0;
  #inputLevel = 0;
  #outputLevel = 0;
  #levelsDue = 0;
  #played = { turn: -1, ms: -1, at: 0 };
  /** The interrupted turns of which the playback has not yet said what it dropped, and whether they go on after all:
   * that is told behind it. @type {Map<number, boolean>} */
  #unflushed = new Map();

  /** @returns {Status} */
  get status() {
    return this.#status;
  }

  /** Where all that is played passes: connect an analyser or a recorder. Null while no conversation runs.
   * @returns {AudioNode | null} */
  get output() {
    return this.#audio?.output ?? null;
  }

  /** Counts of this session: messages that came twice, and what became of the microphone's audio. */
  get statistics() {
    const { lostMs, resentFrames, waitingMs, nextSequence } = this.#log;
    return { duplicates: this.#connection?.duplicates ?? 0, lostMs, resentFrames, waitingMs, nextSequence };
  }

  /**
   * @template {keyof Events} Type
   * @param {Type} type
   * @param {(event: Events[Type]) => void} listener
   * @returns {() => void} takes the listener off again
   */
  on(type, listener) {
    const listeners = this.#listeners.get(type) ?? new Set();
    this.#listeners.set(type, listeners.add(listener));
    return () => void listeners.delete(listener);
  }

  /** Asks for the microphone and begins a conversation; call it from a click. What fails comes as `error` and `state`. */
  async start() {
    if (!RESTING.has(this.#status)) return;
    const conversation = ++this.#conversation;
    this.#setStatus("starting");
    try {
      const audio = await ConversationAudio.open(this.#audioListener(), this.#options);
      if (conversation === this.#conversation) this.#audio = audio;
      else await audio.close();
    } catch (error) {
      if (conversation === this.#conversation) this.#fail(/** @type {RelayError} */ (error));
    }
    if (this.#audio && conversation === this.#conversation) await this.#connect(this.#audio.sampleRate);
  }

  /** Ends the conversation and lets the microphone go. */
  async stop() {
    if (!RESTING.has(this.#status)) await this.#release("ended", "stopped");
  }

  /** Gives up the connection and takes up the session over a new one, as after a break. */
  reconnect() {
    this.#connection?.drop();
  }

  /** Changes to HTTP polling, or back to a WebSocket. @param {boolean} on */
  async forcePolling(on) {
    this.#forcePolling = on;
    await this.#connection?.forcePolling(on);
  }

  /** @param {number} sampleRate of the microphone, Hz */
  async #connect(sampleRate) {
    this.#log = new UplinkLog();
    const { token } = this.#options;
    this.#connection = new Connection({
      url: this.#url,
      start: { type: "start", sampleRate, channels: 1, encoding: "pcm_s16le", ...(token && { token }) },
      network: this.#network,
      log: this.#log,
      forcePolling: this.#forcePolling,
      onSession: (ready) => this.#begin(ready),
      onMessage: (message) => this.#receive(message),
      onState: (state) => this.#linkChanged(state),
    });
    await this.#connection.open();
  }

  /** @param {Ready} ready */
  #begin(ready) {
    this.#played = { turn: -1, ms: -1, at: 0 };
    this.#unflushed.clear();
    this.#audio?.openPlayback(ready.sampleRate);
    this.#audio?.tap(this.onPlayed !== null);
    this.#inSession = true;
    this.#roundTrip?.stop();
    this.#roundTrip = new RoundTrip(this.#url, this.#network, (ms) => this.#emit("rtt", { ms }), () => this.reconnect());
  }

  /** @param {Message} message */
  #receive(message) {
    switch (message.type) {
      case "audio":
        this.#audio?.play(message.turn, message.ms, message.pcm);
        break;
      case "interrupt":
        this.#audio?.interrupt(message.turn);
        if (this.#audio) this.#unflushed.set(message.turn, false);
        this.#emit("interrupt", { turn: message.turn });
        break;
      case "resumed":
        if (this.#unflushed.has(message.turn)) this.#unflushed.set(message.turn, true);
        else this.#emit("resumed", { turn: message.turn });
        break;
      case "partial":
      case "final":
        this.#emit(message.type, { role: message.role, text: message.text });
        break;
      case "speech":
        this.#emit("speech", { role: message.role, status: message.status });
        break;
      case "state":
        this.#emit("call", { status: message.status, reason: message.reason });
        if (message.status === "ended") void this.#release("ended", message.reason);
        break;
      case "error":
        this.#emit("error", new RelayError(message.code, message.error, { fatal: false, leg: message.leg }));
    }
  }

  /** @param {LinkState} state */
  #linkChanged({ status, transport, attempt, error }) {
    if (status === "closed") return;
    if (status === "live") this.#audio?.changeLink();
    if (error) this.#fail(error, "lost");
    else this.#setStatus(status, { transport, attempt, reason: status === "reconnecting" && !navigator.onLine ? "offline" : "" });
  }

  /** @returns {AudioListener} */
  #audioListener() {
    return {
      onCaptured: (audio) => this.#captured(audio),
      onStatus: (status) => this.#playing(status),
      onFlushed: (flushed) => this.#flushed(flushed),
      onPlayed: (block) => this.onPlayed?.(block),
      onAudio: (status) => this.#emit("audio", { status }),
      onTrouble: (error) => this.#emit("error", error),
    };
  }

  /** @param {CapturedAudio} audio */
  #captured(audio) {
    if (!this.#audio) return;
    this.#inputLevel = Math.max(this.#inputLevel, audio.level);
    this.#tellLevels();
    if (!this.#inSession) return;
    this.onCaptured?.(audio);
    this.#log.append(audio.pcm, audio.ms, audio.durationMs);
    this.#connection?.pump();
  }

  /** @param {PlaybackStatus} status */
  #playing({ turn, heardMs, bufferMs, targetMs, isPlaying, level, counts }) {
    if (!this.#audio) return;
    this.#outputLevel = level;
    this.#emit("buffer", { ms: bufferMs, targetMs, ...counts });
    this.#emit("uplink", this.statistics);
    const delayMs = isPlaying ? this.#audio.outputDelayMs : 0;
    if (heardMs > 0) this.#reportPlayed(turn, Math.max(0, heardMs - delayMs), PLAYED_EVERY_MS);
  }

  /** @param {Flushed} flushed */
  #flushed(flushed) {
    this.#emit("flushed", flushed);
    const wasResumed = this.#unflushed.get(flushed.turn);
    this.#unflushed.delete(flushed.turn);
    if (wasResumed) this.#emit("resumed", { turn: flushed.turn });
    if (flushed.heardMs > 0) this.#reportPlayed(flushed.turn, flushed.heardMs, 0);
  }

  /**
   * Tells the relay how much of a turn was played, if that is news.
   * @param {number} turn
   * @param {number} exactMs
   * @param {number} everyMs at most so often for one turn
   */
  #reportPlayed(turn, exactMs, everyMs) {
    const ms = Math.round(exactMs);
    const at = performance.now();
    if (turn === this.#played.turn && (ms <= this.#played.ms || at - this.#played.at < everyMs)) return;
    this.#played = { turn, ms, at };
    this.#connection?.tell({ type: "played", turn, ms });
  }

  #tellLevels() {
    if (performance.now() < this.#levelsDue) return;
    this.#levelsDue = performance.now() + LEVELS_EVERY_MS;
    this.#emit("level", { input: this.#inputLevel, output: this.#outputLevel });
    this.#inputLevel = 0;
  }

  /** @param {RelayError} error @param {"ended" | "lost"} status */
  #fail(error, status = "ended") {
    this.#emit("error", error);
    void this.#release(status, error.code);
  }

  /**
   * Lets everything go: no microphone is open while no conversation runs.
   * @param {"ended" | "lost"} status
   * @param {string} reason
   */
  async #release(status, reason) {
    this.#conversation++;
    const [connection, audio] = [this.#connection, this.#audio];
    this.#connection = this.#audio = null;
    this.#inSession = false;
    this.#roundTrip?.stop();
    this.#setStatus(status, { reason });
    await Promise.all([audio?.close(), connection?.close()]); // a connection may take its time
  }

  /**
   * @param {Status} status
   * @param {Partial<Events["state"]>} [more]
   */
  #setStatus(status, more) {
    this.#status = status;
    this.#emit("state", { status, transport: null, attempt: 0, reason: "", ...more });
  }

  /**
   * @template {keyof Events} Type
   * @param {Type} type
   * @param {Events[Type]} event
   */
  #emit(type, event) {
    const listeners = /** @type {Set<(event: Events[Type]) => void> | undefined} */ (this.#listeners.get(type));
    for (const listener of listeners ?? []) listener(event);
  }
}
