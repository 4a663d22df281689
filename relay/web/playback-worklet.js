/**
 * Plays the assistant in the browser's audio thread, as `PlaybackCommand` says, and reports by `PlaybackEvent`.
 * @module
 */

import { Playout } from "./playout.js";

/** @import { PlaybackCommand, PlaybackEvent } from "./worklet-messages.js" */

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
    this.port.onmessage = (/** @type {MessageEvent<PlaybackCommand>} */ { data }) => this.obey(data);
  }

  /** @param {PlaybackCommand} command */
  obey(command) {
    switch (command.type) {
      case "audio":
        this.playout.push(command.turn, command.ms, command.pcm, currentTime * 1000);
        break;
      case "interrupt":
        this.interrupt(command.turn);
        break;
      case "link":
        this.playout.changeLink();
        break;
      case "tap":
        this.tapped = command.on ? new Float32Array(TAP_SAMPLES) : null;
        this.tappedLength = 0;
        break;
      case "close":
        this.running = false;
    }
  }

  /** @param {number} turn */
  interrupt(turn) {
    const flushedMs = this.playout.interrupt(turn);
    const heardMs = this.playout.turn === turn ? this.playout.heardMs : 0;
    this.tell({ type: "flushed", body: { turn, flushedMs, heardMs, frame: currentFrame } });
  }

  /** @param {PlaybackEvent} event */
  tell(event) {
    this.port.postMessage(event);
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
    this.tell({ type: "played", body: { frame, wallMs: Date.now(), samples: block.slice() } });
    this.tappedLength = 0;
  }

  report() {
    this.statusDue = currentTime + STATUS_EVERY_S;
    const { turn, heardMs, bufferMs, targetMs, isPlaying, holes, holeMs, staleFrames, overflowFrames } = this.playout;
    const level = Math.sqrt(this.power / Math.max(1, this.samples));
    this.power = this.samples = 0;
    const counts = { holes, holeMs, staleFrames, overflowFrames };
    this.tell({ type: "status", body: { turn, heardMs, bufferMs, targetMs, isPlaying, level, counts } });
  }
}

registerProcessor("relay-playback", PlaybackProcessor);
