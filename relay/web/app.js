/**
 * The page: it shows what a RelayClient says, and passes on what the visitor does.
 * @module
 */

import { NetworkLab } from "./network-lab.js";
import { checkSupport, RelayClient } from "./relay-client.js";
import { loudness, Timeline } from "./timeline.js";
import { Transcript } from "./transcript.js";

/** @import { Events, RelayError } from "./relay-client.js" */

const STALL_MS = 2_000;

/** @type {Record<string, string>} */
const TITLES = {
  BROWSER_UNSUPPORTED: "This browser cannot do voice calls",
  INSECURE_PAGE: "This page is not secure",
  MICROPHONE_REFUSED: "The microphone was refused",
  MICROPHONE_MISSING: "There is no microphone",
  MICROPHONE_BUSY: "The microphone is busy",
  MICROPHONE_LOST: "The microphone is gone",
  SERVER_GONE: "The server cannot be reached",
  SESSION_GONE: "The conversation was lost",
  AUDIO_FAILED: "The audio could not be started",
};

/** @type {Record<string, string>} */
const WHAT_NOW = {
  BROWSER_UNSUPPORTED: "Open this page in a current Chrome, Edge, Firefox or Safari.",
  SERVER_GONE: "The server does not answer. Check your connection, then begin again.",
};

/** What stands in the way of a conversation whose connection is good. @type {Record<Events["audio"]["status"], string>} */
const AUDIO_TEXTS = {
  running: "",
  interrupted: "The sound is interrupted: tap here or press a key to go on",
  no_microphone: "No microphone: connect one to go on",
};

/** @type {Record<string, string>} */
const STATUS_TEXTS = {
  idle: "Not connected",
  starting: "Waiting for the microphone …",
  connecting: "Connecting …",
  live: "Connected",
  reconnecting: "Reconnecting …",
  lost: "Connection lost",
  ended: "Conversation ended",
};

/** @type {Record<string, string>} */
const ENDINGS = {
  assistant_ended: "The assistant has ended the conversation.",
  assistant_unavailable: "The assistant cannot be reached just now. Please try again later.",
  idle: "Nobody spoke for a while, so the conversation was ended.",
  max_duration: "The conversation has reached its longest duration.",
  caller_lost: "The connection was lost for too long.",
  protocol_error: "The page sent what the server could not read. Please load it again.",
  drain: "The server is being replaced. Please start again.",
  admin: "The operator has ended the conversation.",
};

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));
const talk = /** @type {HTMLButtonElement} */ (element("talk"));

const lab = new NetworkLab();
const client = new RelayClient({ token: takeToken(), network: lab });
const timeline = new Timeline(/** @type {HTMLCanvasElement} */ (element("timeline")));
const transcript = new Transcript(element);
let interruptions = 0;
/** @type {Events["state"]} */
let connection = { status: "idle", transport: null, attempt: 0, reason: "" };
/** @type {Events["call"]} */
let call = { status: "live", reason: "" };
/** @type {Events["audio"]["status"]} */
let audio = "running";

/** For the console and for tests. */
Object.assign(globalThis, { relayClient: client, networkLab: lab });

/** A token may be handed over behind the `#`, which no server sees. */
function takeToken() {
  const token = new URLSearchParams(location.hash.slice(1)).get("token") ?? undefined;
  if (token) history.replaceState(null, "", location.pathname);
  return token;
}

/** @param {Events["state"]} state */
function showState(state) {
  connection = state;
  const { status, transport, reason } = state;
  showConnection();
  element("transport").textContent = transport === null ? "–" : transport === "polling" ? "HTTP polling" : "WebSocket";
  const label = { idle: "Start talking", ended: "Start talking", lost: "Begin again" }[/** @type {string} */ (status)];
  talk.dataset.does = label ? "start" : "end";
  talk.textContent = label ?? "End conversation";
  element("hint").hidden = !label;
  timeline.markBreak(status === "reconnecting" || status === "lost");
  if (status === "live") element("problem").hidden = true;
  if (status === "ended" || status === "lost") finish(reason);
}

/** The connection to the relay, and while that is good, the sound, and how the relay stands with the assistant. */
function showConnection() {
  const isHindered = connection.status === "live" && (audio !== "running" || call.status === "reconnecting");
  const status = isHindered ? "reconnecting" : connection.status;
  element("connection").dataset.status = status;
  element("connection-text").textContent = statusText(connection);
}

/** @param {Events["state"]} state */
function statusText({ status, transport, attempt, reason }) {
  if (status === "ended" && reason in TITLES) return STATUS_TEXTS.idle;
  if (status === "live" && audio !== "running") return AUDIO_TEXTS[audio];
  if (status === "live" && call.status === "reconnecting") return "Waiting for the assistant …";
  if (status === "live" && transport === "polling") return "Connected over plain HTTP";
  if (reason === "offline") return "No network: the conversation goes on when it is back …";
  if (status === "reconnecting" && transport === "polling") return "Trying plain HTTP …";
  if (status === "reconnecting" && attempt > 0) return `Reconnecting, attempt ${attempt} …`;
  return STATUS_TEXTS[status];
}

/** @param {string} reason of a degraded call */
const standsIn = (reason) => reason.includes("assistant stands in");

/** @param {string} reason */
function finish(reason) {
  if (reason in ENDINGS) transcript.note(ENDINGS[reason]);
  timeline.stop();
  transcript.finish();
  showLevel("level-input", 0);
  showLevel("level-output", 0);
}

/** @param {RelayError} error */
function showError({ code, message, leg }) {
  if (leg === "assistant") return; // `call` says what that means
  element("problem-title").textContent = TITLES[code] ?? "The relay reports a problem";
  element("problem-text").textContent = WHAT_NOW[code] ?? message;
  element("problem-code").textContent = code;
  element("problem").hidden = false;
}

/** @param {string} id @param {number} level */
function showLevel(id, level) {
  const meter = element(id);
  const share = Math.min(1, loudness(level));
  meter.setAttribute("aria-valuenow", String(Math.round(share * 100)));
  /** @type {HTMLElement} */ (meter.firstElementChild).style.transform = `scaleX(${share})`;
}

/** @param {number} ms */
const milliseconds = (ms) => `${Math.round(ms)} ms`;

client.on("state", showState);
client.on("error", showError);
client.on("audio", ({ status }) => {
  audio = status;
  if (status === "running" && element("problem-code").textContent === "MICROPHONE_LOST") element("problem").hidden = true;
  showConnection();
});
client.on("partial", ({ role, text }) => transcript.showPartial(role, text));
client.on("final", ({ role, text }) => transcript.add(role, text));
client.on("speech", ({ role, status }) => {
  timeline.markSpeech(role, status);
  transcript.markSpeech(role, status);
});
client.on("interrupt", () => (element("interruptions").textContent = String(++interruptions)));
client.on("flushed", ({ heardMs, flushedMs }) => {
  element("flushed").textContent = milliseconds(flushedMs);
  timeline.markCut(`flushed ${milliseconds(flushedMs)}`);
  transcript.cut(heardMs, flushedMs);
});
client.on("resumed", () => transcript.takeBackCut());
client.on("level", ({ input, output }) => {
  showLevel("level-input", input);
  showLevel("level-output", output);
  timeline.addLevels(input, output);
});
client.on("buffer", ({ ms, targetMs, holes, holeMs }) => {
  element("buffer").textContent = milliseconds(ms);
  element("target").textContent = milliseconds(targetMs);
  element("holes").textContent = holes ? `${holes}, ${milliseconds(holeMs)}` : "none";
});
client.on("rtt", ({ ms }) => (element("rtt").textContent = milliseconds(ms)));
client.on("uplink", ({ waitingMs, lostMs }) => {
  element("uplink").textContent = milliseconds(waitingMs) + (lostMs ? `, ${milliseconds(lostMs)} lost` : "");
});
client.on("call", (state) => {
  const [was, before] = [call.status, call.reason];
  call = state;
  showConnection();
  if (state.status === "reconnecting" && was !== "reconnecting") {
    transcript.note("The assistant is reconnecting. Go on talking: nothing is lost.");
  } else if (state.status === "live" || state.status === "degraded") {
    if (was === "reconnecting") transcript.note("The assistant is back.");
    if (standsIn(state.reason) && !standsIn(before)) transcript.note("Another assistant stands in for the usual one.");
  }
});

talk.onclick = () => {
  if (talk.dataset.does === "end") {
    void client.stop();
  } else {
    element("problem").hidden = true;
    interruptions = 0;
    call = { status: "live", reason: "" };
    audio = "running";
    element("interruptions").textContent = "0";
    transcript.clear();
    timeline.start();
    void client.start();
  }
};
element("problem-close").onclick = () => {
  element("problem").hidden = true;
  talk.focus();
};
element("lab-drop").onclick = () => client.reconnect();
element("lab-stall").onclick = () => lab.stall(STALL_MS);
const jitter = /** @type {HTMLInputElement} */ (element("lab-jitter"));
jitter.oninput = () => {
  element("lab-jitter-value").textContent = `${jitter.value} ms`;
  lab.jitterMs = Number(jitter.value);
};
const polling = /** @type {HTMLInputElement} */ (element("lab-polling"));
polling.onchange = () => client.forcePolling(polling.checked);

try {
  checkSupport();
} catch (error) {
  showError(/** @type {RelayError} */ (error));
  talk.disabled = true;
  element("hint").hidden = true;
}
