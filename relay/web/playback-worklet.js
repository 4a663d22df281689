/**
 * Plays the assistant. Messages in: `{type: "audio", turn, ms, pcm}`, `{type: "interrupt", turn}`, `{type: "link"}` for
 * a new connection, `{type: "tap", on}`, `{type: "close"}`. Messages out: `status` ten times a second, `flushed` after
 * an interruption, `played` (the very output) while tapped.
 * @module
 */

import { Playout } from "./playout.js";

const STATUS_EVERY_S = 0.1;
const TAP_SAMPLES = 256;

class PlaybackProcessor extends AudioWorkletProcessor {
  /** @param {{processorOptions: {rate: number}}} options */
  constructor(options) {
    super();
    this.playout = new Playout(options.processorOptions.rate, sampleRate);
    this.statusDue = 0;
    this.power = 0;
    this.samples = 0;
    /** @type {Float32Array | null} */
    this.tapped = null;
    this.tappedLength = 0;
    this.running = true;
    this.port.onmessage = (event) => this.take(event.data);
  }

  /** @param {{type: string, turn: number, ms: number, pcm: Int16Array, on: boolean}} message */
  take(message) {
    if (message.type === "audio") {
      this.playout.push(message.turn, message.ms, message.pcm, currentTime * 1000);
    } else if (message.type === "interrupt") {
      const flushedMs = this.playout.interrupt(message.turn);
      const { turn, heardMs } = this.playout;
      const heard = turn === message.turn ? heardMs : 0;
      this.port.postMessage({ type: "flushed", turn: message.turn, flushedMs, heardMs: heard, frame: currentFrame });
    } else if (message.type === "link") {
      this.playout.changeLink();
    } else if (message.type === "tap") {
      this.tapped = message.on ? new Float32Array(TAP_SAMPLES) : null;
      this.tappedLength = 0;
    } else if (message.type === "close") {
      this.running = false;
    }
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, outputs) {
    const out = outputs[0][0];
    this.playout.render(out, currentTime * 1000);
    for (let i = 0; i < out.length; i++) this.power += out[i] * out[i];
    this.samples += out.length;
    if (this.tapped) this.tap(this.tapped, out);
    if (currentTime >= this.statusDue) this.report();
    return this.running;
  }

  /**
   * @param {Float32Array} block
   * @param {Float32Array} out
   */
  tap(block, out) {
    block.set(out, this.tappedLength);
    this.tappedLength += out.length;
    if (this.tappedLength < block.length) return;
    const frame = currentFrame + out.length - block.length;
    this.port.postMessage({ type: "played", frame, wallMs: Date.now(), samples: block.slice() });
    this.tappedLength = 0;
  }

  report() {
    this.statusDue = currentTime + STATUS_EVERY_S;
    const { turn, heardMs, bufferMs, targetMs, isPlaying, holes, holeMs, staleFrames, overflowFrames } = this.playout;
    const level = Math.sqrt(this.power / Math.max(1, this.samples));
    this.power = this.samples = 0;
    const counts = { holes, holeMs, staleFrames, overflowFrames };
    this.port.postMessage({ type: "status", turn, heardMs, bufferMs, targetMs, isPlaying, level, counts });
  }
}

registerProcessor("relay-playback", PlaybackProcessor);
