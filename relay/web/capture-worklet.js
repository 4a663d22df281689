/**
 * Listens to the microphone: mono, 16 bits, messages of 20 ms at the context's own rate.
 * @module
 */

/** @import { CapturedAudio } from "./worklet-messages.js" */

const MESSAGE_S = 0.02;

class CaptureProcessor extends AudioWorkletProcessor {
  constructor() {
    super();
    this.length = Math.round(sampleRate * MESSAGE_S);
    this.pcm = new Int16Array(this.length);
    this.filled = 0;
    this.power = 0;
    this.sent = 0;
    this.running = true;
    this.port.onmessage = () => (this.running = false);
  }

  /** @param {Float32Array[][]} inputs */
  process(inputs) {
    const channels = inputs[0];
    const length = channels.length ? channels[0].length : 128; // without a source the clock goes on, in silence
    for (let i = 0; i < length; i++) {
      let value = 0;
      for (const channel of channels) value += channel[i] / channels.length;
      this.power += value * value;
      this.pcm[this.filled++] = Math.max(-32768, Math.min(32767, Math.round(value * 32768)));
      if (this.filled === this.length) this.send();
    }
    return this.running;
  }

  send() {
    const ms = (this.sent * 1000) / sampleRate;
    const durationMs = (this.length * 1000) / sampleRate;
    const level = Math.sqrt(this.power / this.length);
    /** @type {CapturedAudio} */
    const audio = { pcm: this.pcm, ms, durationMs, level };
    this.port.postMessage(audio, [this.pcm.buffer]);
    this.pcm = new Int16Array(this.length);
    this.sent += this.length;
    this.filled = 0;
    this.power = 0;
  }
}

registerProcessor("relay-capture", CaptureProcessor);
