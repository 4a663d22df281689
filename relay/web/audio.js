/**
 * Microphone and loudspeaker of one conversation: an AudioContext with a capture and a playback worklet. Both may be taken
 * away at any time, by a telephone call or by unplugging a headset, and are taken back as soon as they can be had.
 * @module
 */

import { RelayError } from "./errors.js";

/** @import { ClientCode } from "./errors.js" */
/** @import { CapturedAudio, Flushed, PlaybackCommand, PlaybackEvent, PlaybackStatus, PlayedBlock }
 *   from "./worklet-messages.js" */

/**
 * @typedef {object} AudioListener
 * @property {(audio: CapturedAudio) => void} onCaptured every 20 ms
 * @property {(status: PlaybackStatus) => void} onStatus ten times a second
 * @property {(flushed: Flushed) => void} onFlushed
 * @property {(block: PlayedBlock) => void} onPlayed while tapped
 * @property {(status: AudioStatus) => void} onAudio
 * @property {(error: RelayError) => void} onTrouble the conversation goes on all the same
 */

/**
 * `interrupted`: the device has taken the sound away, in both directions, for a telephone call as a rule.
 * @typedef {"running" | "interrupted" | "no_microphone"} AudioStatus
 */

/** What browsers take for a gesture, which some of them want to see before sound is resumed. */
const GESTURES = ["pointerdown", "pointerup", "keydown"];

/** @type {Record<string, [ClientCode, string]>} */
const MICROPHONE_PROBLEMS = {
  NotAllowedError: ["MICROPHONE_REFUSED", "The microphone is not allowed. Allow it for this page in the browser's address bar, then start again."],
  SecurityError: ["MICROPHONE_REFUSED", "The microphone is blocked by this browser's settings."],
  NotFoundError: ["MICROPHONE_MISSING", "No microphone was found. Plug one in, then start again."],
  OverconstrainedError: ["MICROPHONE_MISSING", "No suitable microphone was found. Plug one in, then start again."],
  NotReadableError: ["MICROPHONE_BUSY", "The microphone cannot be opened. Close other programs that use it, then start again."],
};

/** Throws RelayError when this browser or page cannot do voice calls, before anything is asked of the user. */
export function checkSupport() {
  if (!globalThis.isSecureContext) {
    throw new RelayError("INSECURE_PAGE", "Microphones work only on secure pages. Open this page over https://.");
  }
  if (!navigator.mediaDevices?.getUserMedia || !globalThis.AudioWorkletNode || !globalThis.WebSocket) {
    throw new RelayError("BROWSER_UNSUPPORTED", "This browser cannot do voice calls. Use a current Chrome, Edge, Firefox or Safari.");
  }
}

export class ConversationAudio {
  /**
   * Asks for the microphone and starts capturing. To be called from a user's gesture.
   * @param {AudioListener} listener
   * @param {{sampleRate?: number}} options `sampleRate` of the context; by default the device's
   * @returns {Promise<ConversationAudio>}
   */
  static async open(listener, { sampleRate } = {}) {
    checkSupport();
    const context = new AudioContext({ latencyHint: "interactive", ...(sampleRate && { sampleRate }) });
    /** @type {MediaStream | undefined} */
    let microphone;
    try {
      microphone = await openMicrophone();
      await context.audioWorklet.addModule(new URL("capture-worklet.js", import.meta.url));
      await context.audioWorklet.addModule(new URL("playback-worklet.js", import.meta.url));
      await context.resume();
      return new ConversationAudio(context, microphone, listener);
    } catch (error) {
      if (microphone) stop(microphone);
      await context.close();
      if (error instanceof RelayError) throw error;
      throw new RelayError("AUDIO_FAILED", `The audio could not be started: ${/** @type {Error} */ (error).message}`);
    }
  }

  #context;
  #listener;
  #capture;
  /** @type {MediaStreamAudioSourceNode | null} null while there is no microphone */
  #source = null;
  #devicesChanged = false;
  #searching = false;
  #over = new AbortController();
  /** @type {AudioStatus} */
  #status = "running";
  /** @type {AudioWorkletNode | undefined} */
  #playback;
  #tapped = false;

  /**
   * @param {AudioContext} context
   * @param {MediaStream} microphone
   * @param {AudioListener} listener
   */
  constructor(context, microphone, listener) {
    this.#context = context;
    this.#listener = listener;
    /** Everything that is played passes here: connect an analyser or a recorder to it. */
    this.output = new GainNode(context);
    this.output.connect(context.destination);
    this.#capture = new AudioWorkletNode(context, "relay-capture");
    this.#capture.port.onmessage = (/** @type {MessageEvent<CapturedAudio>} */ { data }) => listener.onCaptured(data);
    // The capture worklet puts out silence; it is connected because a node that is not may not run.
    this.#capture.connect(context.destination);
    this.#hear(microphone);
    const { signal } = this.#over;
    context.addEventListener("statechange", () => this.#resume(), { signal });
    for (const gesture of GESTURES) document.addEventListener(gesture, () => this.#resume(), { signal, capture: true });
    document.addEventListener("visibilitychange", () => this.#resume(), { signal });
    navigator.mediaDevices.addEventListener("devicechange", () => void this.#findMicrophone(), { signal });
  }

  /** The rate of what is captured, Hz. */
  get sampleRate() {
    return this.#context.sampleRate;
  }

  /** From a sample leaving the worklet to its being heard. */
  get outputDelayMs() {
    return ((this.#context.baseLatency ?? 0) + (this.#context.outputLatency ?? 0)) * 1000;
  }

  /**
   * Begins playing, with an empty buffer.
   * @param {number} rate of the audio that `play` will get, Hz
   */
  openPlayback(rate) {
    this.#closePlayback();
    const options = { numberOfInputs: 0, outputChannelCount: [1], processorOptions: { rate } };
    this.#playback = new AudioWorkletNode(this.#context, "relay-playback", options);
    this.#playback.port.onmessage = (/** @type {MessageEvent<PlaybackEvent>} */ { data }) => this.#tell(data);
    this.#playback.connect(this.output);
    this.tap(this.#tapped);
  }

  /**
   * @param {number} turn
   * @param {number} ms
   * @param {Int16Array} pcm
   */
  play(turn, ms, pcm) {
    this.#command({ type: "audio", turn, ms, pcm });
  }

  /** @param {number} turn */
  interrupt(turn) {
    this.#command({ type: "interrupt", turn });
  }

  /** What is played comes by another connection from now on. */
  changeLink() {
    this.#command({ type: "link" });
  }

  /** @param {boolean} on */
  tap(on) {
    this.#tapped = on;
    this.#command({ type: "tap", on });
  }

  async close() {
    this.#over.abort();
    this.#letGo();
    this.#capture.port.postMessage("close");
    this.#closePlayback();
    if (this.#context.state !== "closed") await this.#context.close();
  }

  /** @param {MediaStream} microphone */
  #hear(microphone) {
    this.#source = this.#context.createMediaStreamSource(microphone);
    this.#source.connect(this.#capture);
    for (const track of microphone.getTracks()) track.onended = () => this.#microphoneLost();
    this.#tellStatus();
  }

  #letGo() {
    this.#source?.disconnect();
    if (this.#source) stop(this.#source.mediaStream);
    this.#source = null;
  }

  #microphoneLost() {
    this.#letGo();
    this.#tellStatus();
    const text = "The microphone was unplugged or switched off. The conversation goes on as soon as there is one.";
    this.#listener.onTrouble(new RelayError("MICROPHONE_LOST", text, { fatal: false }));
    void this.#findMicrophone();
  }

  /** Takes whatever microphone there is now, if the last one was lost; without one, the next change of devices tries again. */
  async #findMicrophone() {
    this.#devicesChanged = true;
    if (this.#searching) return;
    this.#searching = true;
    while (this.#devicesChanged && !this.#source && !this.#over.signal.aborted) {
      this.#devicesChanged = false;
      const microphone = await openMicrophone().catch(() => null);
      if (microphone && this.#over.signal.aborted) stop(microphone);
      else if (microphone) this.#hear(microphone);
    }
    this.#searching = false;
  }

  /** A context that was taken away comes back by itself, or when it is asked: at once, or at a gesture. */
  #resume() {
    this.#tellStatus();
    if (this.#context.state !== "running" && this.#context.state !== "closed") this.#context.resume().catch(() => {});
  }

  #tellStatus() {
    const status = this.#context.state !== "running" ? "interrupted" : this.#source ? "running" : "no_microphone";
    if (status === this.#status || this.#over.signal.aborted) return;
    this.#status = status;
    this.#listener.onAudio(status);
  }

  #closePlayback() {
    this.#command({ type: "close" });
    this.#playback?.disconnect();
  }

  /** @param {PlaybackCommand} command */
  #command(command) {
    this.#playback?.port.postMessage(command);
  }

  /** @param {PlaybackEvent} event */
  #tell({ type, body }) {
    if (type === "status") this.#listener.onStatus(body);
    else if (type === "flushed") this.#listener.onFlushed(body);
    else this.#listener.onPlayed(body);
  }
}

/** @param {MediaStream} microphone */
function stop(microphone) {
  for (const track of microphone.getTracks()) {
    track.onended = null;
    track.stop();
  }
}

async function openMicrophone() {
  const audio = { echoCancellation: true, noiseSuppression: true, autoGainControl: false, channelCount: { ideal: 1 } };
  try {
    return await navigator.mediaDevices.getUserMedia({ audio });
  } catch (error) {
    const { name, message } = /** @type {DOMException} */ (error);
    const [code, text] = MICROPHONE_PROBLEMS[name] ?? ["AUDIO_FAILED", message];
    throw new RelayError(code, text);
  }
}
