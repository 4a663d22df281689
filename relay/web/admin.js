/**
 * The operator's page: it signs in with the admin token, shows the calls, and does what the operator asks.
 * @module
 */

import { AdminApi, AdminError } from "./admin-api.js";
import { FinishedCalls } from "./finished-calls.js";
import { LiveCalls } from "./live-calls.js";
import { element, span } from "./admin-parts.js";

/** @import { RelayState } from "./admin-api.js" */

const TOKEN_KEY = "relay-admin-token";
const REFRESH_MS = 1_000;
/** A call that has vanished from the live ones takes a moment to end. */
const ENDS_WITHIN_MS = 1_500;
/** For a reload of its tab. */
const TIMELINE_KEPT_MS = 300_000;

/** Codes after which this token is of no use. */
const SIGNED_OUT = new Set(["ADMIN_TOKEN_NEEDED", "NOT_FOUND"]);

/** @type {Record<string, string>} */
const REFUSING = {
  draining: "The relay is stopping: it takes no new calls.",
  max_calls: "As many calls run as limits.max_calls allows: new ones are refused.",
  late: "The event loop is late: new calls are refused until it is not.",
};

const token = /** @type {HTMLInputElement} */ (element("token"));
const question = /** @type {HTMLDialogElement} */ (element("question"));

/** @type {AdminApi | null} */
let api = null;
/** @type {() => void} */
let agreed = () => undefined;

const live = new LiveCalls({
  timeline: (id) => openTimeline(id),
  hangUp: (id) =>
    ask(`Hang up call ${id.slice(0, 8)}?`, "The caller is cut off at once, in the middle of a word.", "Hang up", (by) => by.hangUp(id)),
});
const finished = new FinishedCalls({
  timeline: (id) => openTimeline(id),
  erase: (id) =>
    ask(
      `Erase the recording of call ${id.slice(0, 8)}?`,
      "Its sound, its words and its timeline are removed from this machine for good.",
      "Erase",
      async (by) => {
        await by.erase(id);
        await finished.load(by);
      },
    ),
});

/** @param {AdminApi} by */
async function refresh(by) {
  try {
    const { calls, relay } = await by.live();
    if (api !== by) return;
    showStatus("live", `${calls.length} of ${relay.max_calls} calls`);
    showRelay(relay, calls.length);
    if (live.show(calls)) setTimeout(() => void attempt((it) => finished.load(it)), ENDS_WITHIN_MS);
  } catch (error) {
    if (api !== by) return;
    if (error instanceof AdminError && SIGNED_OUT.has(error.code)) {
      signOut(error);
      return;
    }
    live.markStale();
    showStatus("reconnecting", "No answer: trying again …");
  }
  setTimeout(() => void (api === by && refresh(by)), REFRESH_MS);
}

/** @param {RelayState} relay @param {number} running */
function showRelay(relay, running) {
  element("relay-calls").textContent = `${running} of ${relay.max_calls}`;
  element("relay-begun").textContent = String(relay.calls_begun);
  element("relay-lag").textContent = `${relay.loop_lag_ms.toFixed(1)} ms late`;
  element("relay-uptime").textContent = span(relay.uptime_s);
  element("relay-version").textContent = relay.version;
  const refusing = relay.refusal_cause;
  element("refusing").hidden = refusing === null;
  element("refusing").textContent = refusing === null ? "" : (REFUSING[refusing] ?? `New calls are refused: ${refusing}`);
}

/** @param {string} status @param {string} text */
function showStatus(status, text) {
  element("connection").dataset.status = status;
  if (element("connection-text").textContent !== text) element("connection-text").textContent = text;
}

/** @param {string} title @param {unknown} error */
function showProblem(title, error) {
  element("problem-title").textContent = title;
  element("problem-text").textContent = error instanceof Error ? error.message : String(error);
  element("problem").hidden = false;
}

/** Do something with the relay, and show what went wrong. @param {(by: AdminApi) => Promise<unknown>} work */
async function attempt(work) {
  const by = api;
  if (by === null) return;
  try {
    await work(by);
  } catch (error) {
    if (api === by) showProblem("That did not work", error);
  }
}

/**
 * @param {string} title
 * @param {string} text
 * @param {string} yes what the button says
 * @param {(by: AdminApi) => Promise<unknown>} work
 */
function ask(title, text, yes, work) {
  element("question-title").textContent = title;
  element("question-text").textContent = text;
  element("question-yes").textContent = yes;
  agreed = () => void attempt(work);
  question.showModal();
}

/** A link cannot carry the token: the page is fetched, and shown in a tab that gets no copy of it. @param {string} id */
function openTimeline(id) {
  const tab = window.open("", "_blank");
  if (tab === null) {
    showProblem("The browser has blocked the new tab", "Allow this page to open tabs, and try again.");
    return;
  }
  tab.opener = null;
  tab.sessionStorage.removeItem(TOKEN_KEY);
  tab.document.title = "Timeline";
  tab.document.body.textContent = "The timeline is being made …";
  void attempt(async (by) => {
    try {
      const url = URL.createObjectURL(await by.timeline(id));
      tab.location.replace(url);
      setTimeout(() => URL.revokeObjectURL(url), TIMELINE_KEPT_MS);
    } catch (error) {
      tab.close();
      throw error;
    }
  });
}

/** @param {string} value @param {boolean} isNew whether the operator has just typed it */
async function signIn(value, isNew) {
  const by = new AdminApi(value);
  try {
    await by.live();
  } catch (error) {
    const known = error instanceof AdminError && SIGNED_OUT.has(error.code);
    if (isNew || known) {
      signOut(error);
      return;
    }
  }
  sessionStorage.setItem(TOKEN_KEY, value);
  api = by;
  token.value = "";
  element("problem").hidden = true;
  showSignedIn(true);
  if (isNew) element("live-title").focus();
  void attempt((it) => finished.load(it));
  await refresh(by);
}

/** @param {unknown} [why] */
function signOut(why) {
  api = null;
  sessionStorage.removeItem(TOKEN_KEY);
  showSignedIn(false);
  showStatus("idle", "Signed out");
  live.clear();
  finished.clear();
  question.close();
  if (why !== undefined) showProblem("Not signed in", why);
  token.focus();
}

/** @param {boolean} isSignedIn */
function showSignedIn(isSignedIn) {
  element("sign-in").hidden = isSignedIn;
  element("signed-in").hidden = !isSignedIn;
  element("sign-out").hidden = !isSignedIn;
}

element("sign-in").onsubmit = (event) => {
  event.preventDefault();
  showStatus("connecting", "Signing in …");
  void signIn(token.value.trim(), true);
};
element("sign-out").onclick = () => signOut();
element("refresh").onclick = () => void attempt((by) => finished.load(by));
element("problem-close").onclick = () => (element("problem").hidden = true);
element("question-no").onclick = () => question.close();
element("question-yes").onclick = () => {
  question.close();
  agreed();
};

const kept = sessionStorage.getItem(TOKEN_KEY);
if (kept) void signIn(kept, false);
else token.focus();
