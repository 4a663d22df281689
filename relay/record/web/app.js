/**
 * The page of a recorded call: reads its data, and joins the pictures, the lists, the sound, and what moves the view.
 * @module
 */

import { RecordedCall } from "./call.js";
import { HEIGHT, Lanes } from "./lanes.js";
import { byId, fillAnswers, fillEvents, fillVerdict } from "./lists.js";
import { drawOverview, OVERVIEW_HEIGHT } from "./overview.js";
import { Player } from "./player.js";
import { clock, View } from "./view.js";

const LIST_DELAY_MS = 120;

/** @type {unknown} */
const data = JSON.parse(byId("data").textContent ?? "");
const call = new RecordedCall(/** @type {import("./call.js").CallData} */ (data));
const view = new View(call.data.duration_ms);
const lanes = new Lanes(call, view);
const timeline = /** @type {HTMLCanvasElement} */ (byId("timeline"));
const overview = /** @type {HTMLCanvasElement} */ (byId("overview"));
const player = call.data.sound && new Player(call.data.sound);

let drawing = 0;
let listing = 0;
let listed = "";

/** @param {string} name */
let colors = (name) => name;

function readColors() {
  const style = getComputedStyle(document.documentElement);
  /** @type {Map<string, string>} */
  const known = new Map();
  colors = (name) => {
    const color = known.get(name) ?? style.getPropertyValue(`--${name}`);
    known.set(name, color);
    return color;
  };
}

/** @param {HTMLCanvasElement} canvas @param {number} height */
function penOf(canvas, height) {
  const scale = devicePixelRatio;
  const width = canvas.clientWidth;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  const pen = /** @type {CanvasRenderingContext2D} */ (canvas.getContext("2d", { alpha: false }));
  pen.scale(scale, scale);
  return pen;
}

function draw() {
  drawing = 0;
  lanes.draw(penOf(timeline, HEIGHT), timeline.clientWidth, colors);
  drawOverview(penOf(overview, OVERVIEW_HEIGHT), overview.clientWidth, colors, call, view);
  const words = call.describe(view.cursorMs);
  byId("now").textContent = words;
  timeline.setAttribute("aria-valuenow", String(Math.round(view.cursorMs)));
  timeline.setAttribute("aria-valuetext", words);
  byId("range").textContent = `${clock(view.fromMs)} to ${clock(view.toMs)}`;
}

function changed() {
  drawing ||= requestAnimationFrame(draw);
  clearTimeout(listing);
  listing = setTimeout(listEvents, LIST_DELAY_MS);
}

/** Not for each place in the same stretch: the rows would lose the focus. */
function listEvents() {
  const stretch = `${view.fromMs} ${view.toMs}`;
  if (stretch !== listed) fillEvents(call, view);
  listed = stretch;
}

/** @param {number} atMs */
function lookAt(atMs) {
  view.moveCursor(atMs);
  player?.seek(view.cursorMs);
}

/** @param {HTMLCanvasElement} canvas @param {number} clientX */
function place(canvas, clientX) {
  const { left, width } = canvas.getBoundingClientRect();
  return { x: clientX - left, width };
}

function zoomAndPanByPointer() {
  /** @type {Map<number, number>} */
  const held = new Map();
  let moved = 0;
  timeline.addEventListener("pointerdown", (event) => {
    timeline.setPointerCapture(event.pointerId);
    held.set(event.pointerId, event.clientX);
    if (held.size === 1) moved = 0;
  });
  timeline.addEventListener("pointermove", (event) => {
    const before = held.get(event.pointerId);
    if (before === undefined) return;
    const { width } = place(timeline, 0);
    const spread = spreadOf(held);
    held.set(event.pointerId, event.clientX);
    moved += Math.abs(event.clientX - before);
    if (held.size === 1) {
      if (moved > 4) view.pan(((before - event.clientX) / width) * view.spanMs);
      return;
    }
    const now = spreadOf(held);
    const { x } = place(timeline, now.middle);
    view.zoom(Math.max(1, spread.wide) / Math.max(1, now.wide), view.ms(x, width));
    view.pan(((spread.middle - now.middle) / width) * view.spanMs);
  });
  timeline.addEventListener("pointerup", (event) => {
    const { x, width } = place(timeline, event.clientX);
    if (held.size === 1 && moved <= 4) lookAt(view.ms(x, width));
    held.delete(event.pointerId);
  });
  timeline.addEventListener("pointercancel", (event) => held.delete(event.pointerId));
  timeline.addEventListener("dblclick", (event) => {
    const { x, width } = place(timeline, event.clientX);
    view.zoom(0.25, view.ms(x, width));
  });
  timeline.addEventListener(
    "wheel",
    (event) => {
      event.preventDefault();
      const { x, width } = place(timeline, event.clientX);
      const pans = event.shiftKey || Math.abs(event.deltaX) > Math.abs(event.deltaY);
      if (pans) view.pan(((event.deltaX || event.deltaY) / width) * view.spanMs);
      else view.zoom(1.0015 ** event.deltaY, view.ms(x, width));
    },
    { passive: false },
  );
}

/** @param {Map<number, number>} held the place of each pointer */
function spreadOf(held) {
  const places = [...held.values()];
  const [left, right] = [Math.min(...places), Math.max(...places)];
  return { middle: (left + right) / 2, wide: right - left };
}

function moveByOverview() {
  /** @param {PointerEvent} event */
  function follow(event) {
    const { x, width } = place(overview, event.clientX);
    const middle = (x / width) * view.durationMs;
    view.show(middle - view.spanMs / 2, middle + view.spanMs / 2);
  }
  overview.addEventListener("pointerdown", (event) => {
    overview.setPointerCapture(event.pointerId);
    if (view.spanMs > view.durationMs / 2) view.zoom(0.1);
    follow(event);
  });
  overview.addEventListener("pointermove", (event) => {
    if (overview.hasPointerCapture(event.pointerId)) follow(event);
  });
}

function moveByKeyboard() {
  /** @type {Record<string, () => void>} */
  const keys = {
    "ArrowLeft": () => lookAt(view.cursorMs - view.spanMs / 40),
    "ArrowRight": () => lookAt(view.cursorMs + view.spanMs / 40),
    "PageUp": () => lookAt(view.cursorMs - view.spanMs / 2),
    "PageDown": () => lookAt(view.cursorMs + view.spanMs / 2),
    "Home": () => lookAt(0),
    "End": () => lookAt(view.durationMs),
    "+": () => view.zoom(0.5),
    "=": () => view.zoom(0.5),
    "ArrowUp": () => view.zoom(0.5),
    "-": () => view.zoom(2),
    "ArrowDown": () => view.zoom(2),
    "0": () => view.all(),
    "n": () => toEvent(1),
    "p": () => toEvent(-1),
    " ": () => void toggle(),
  };
  timeline.addEventListener("keydown", (event) => {
    const act = event.ctrlKey || event.metaKey || event.altKey ? undefined : keys[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  });
}

/** @param {1 | -1} direction */
function toEvent(direction) {
  const { events } = call.lists;
  const next = events.find(({ at }) => at > view.cursorMs + 0.05);
  const before = events.findLast(({ at }) => at < view.cursorMs - 0.05);
  const found = direction > 0 ? next : before;
  if (found) lookAt(found.at);
}

async function toggle() {
  if (!player) return;
  if (player.playing) player.pause();
  else await player.play(view.cursorMs >= view.durationMs - 50 ? 0 : view.cursorMs);
}

function listen() {
  byId("sound").hidden = !player;
  if (!player) return;
  player.onTime = (atMs) => {
    if (player.playing) view.moveCursor(atMs);
  };
  player.onState = (playing) => (byId("play").textContent = playing ? "Pause" : "Play");
  byId("play").addEventListener("click", () => void toggle());
  for (const [side, id] of ["hear-caller", "hear-heard"].entries()) {
    const box = /** @type {HTMLInputElement} */ (byId(id));
    box.addEventListener("change", () => player.hear(side, box.checked));
  }
}

view.onChange = changed;
timeline.style.height = `${HEIGHT}px`;
overview.style.height = `${OVERVIEW_HEIGHT}px`;
timeline.setAttribute("aria-valuemax", String(Math.round(view.durationMs)));
document.title = `Call ${call.data.id}`;
readColors();
fillVerdict(call, view);
fillAnswers(call, view);
zoomAndPanByPointer();
moveByOverview();
moveByKeyboard();
listen();
byId("zoom-in").addEventListener("click", () => view.zoom(0.5));
byId("zoom-out").addEventListener("click", () => view.zoom(2));
byId("zoom-all").addEventListener("click", () => view.all());
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => {
  readColors();
  changed();
});
new ResizeObserver(changed).observe(timeline);
changed();
