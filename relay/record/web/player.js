/**
 * Plays the sound of the call: left the caller, right what they heard.
 * @module
 */

import { bytesOf } from "./track.js";

export class Player {
  /** @param {{type: string, bytes: string}} sound base64 */
  constructor(sound) {
    this.#sound = sound;
    this.#audio.addEventListener("timeupdate", () => this.onTime(this.#audio.currentTime * 1000));
    for (const type of ["play", "pause", "ended"]) this.#audio.addEventListener(type, () => this.#changed());
  }

  #sound;
  #audio = new Audio();
  #frame = 0;
  /** @type {GainNode[]} */
  #gains = [];
  #loud = [true, true];
  /** @type {(atMs: number) => void} */
  onTime = () => undefined;
  /** @type {(playing: boolean) => void} */
  onState = () => undefined;

  get playing() {
    return !this.#audio.paused;
  }

  /** @param {number} atMs */
  async play(atMs) {
    this.#load();
    this.#audio.currentTime = atMs / 1000;
    await this.#audio.play();
  }

  pause() {
    this.#audio.pause();
  }

  /** @param {number} atMs */
  seek(atMs) {
    if (this.#audio.src) this.#audio.currentTime = atMs / 1000;
  }

  /** @param {number} side 0 the caller, 1 what they heard @param {boolean} loud */
  hear(side, loud) {
    this.#loud[side] = loud;
    if (this.#gains.length) this.#gains[side].gain.value = loud ? 1 : 0;
  }

  #load() {
    if (this.#audio.src) return;
    this.#audio.src = URL.createObjectURL(new Blob([bytesOf(this.#sound.bytes)], { type: this.#sound.type }));
    const context = new AudioContext();
    const splitter = new ChannelSplitterNode(context, { numberOfOutputs: 2 });
    const merger = new ChannelMergerNode(context, { numberOfInputs: 2 });
    context.createMediaElementSource(this.#audio).connect(splitter);
    this.#gains = this.#loud.map((loud, side) => {
      const gain = new GainNode(context, { gain: loud ? 1 : 0 });
      splitter.connect(gain, side).connect(merger, 0, side);
      return gain;
    });
    merger.connect(context.destination);
    void context.resume();
  }

  #changed() {
    this.onState(this.playing);
    cancelAnimationFrame(this.#frame);
    if (this.playing) this.#follow();
  }

  #follow() {
    this.onTime(this.#audio.currentTime * 1000);
    this.#frame = requestAnimationFrame(() => this.#follow());
  }
}
