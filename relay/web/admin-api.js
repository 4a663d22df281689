/**
 * The relay's admin endpoints, asked with the operator's token.
 * @module
 */

/**
 * @typedef {{id: string, call_sid: string, duration_s: number, state: string | null, turn: number,
 *   caller_attached: boolean, caller_speaking: boolean, caller_dbfs: number | null, assistant_speaking: boolean,
 *   assistant_dbfs: number | null, queued_ms: number, target_ms: number, reconnects: Record<string, number>,
 *   interruptions_confirmed: number, recorded: boolean}} LiveCall
 * @typedef {{version: string, uptime_s: number, max_calls: number, calls_begun: number, refusal_cause: string | null,
 *   loop_lag_ms: number}} RelayState
 * @typedef {{id: string, ended_at: string, duration_s: number | null, end_reason: string | null,
 *   recorded: boolean}} FinishedCall
 */

const ANSWER_MS = 10_000;
/** A long call takes the relay some seconds. */
const REPORT_MS = 120_000;

/** The relay refused: `code` is its code, or UNREACHABLE when nothing that is a relay has answered. */
export class AdminError extends Error {
  /** @param {string} message @param {string} code */
  constructor(message, code) {
    super(message);
    this.name = "AdminError";
    this.code = code;
  }
}

/** Every method may throw an AdminError. */
export class AdminApi {
  #token;

  /** @param {string} token */
  constructor(token) {
    this.#token = token;
  }

  /** What runs now. */
  async live() {
    return /** @type {{calls: LiveCall[], relay: RelayState}} */ (await this.#json("GET", "calls"));
  }

  /** The newest first. */
  async finished() {
    return /** @type {{calls: FinishedCall[]}} */ (await this.#json("GET", "calls/finished"));
  }

  /** What was wrong with a recorded call, in sentences. @param {string} id */
  async verdict(id) {
    const path = `calls/${encodeURIComponent(id)}/verdict`;
    return /** @type {{verdict: string[]}} */ (await this.#json("GET", path, REPORT_MS));
  }

  /** @param {string} id */
  async hangUp(id) {
    await this.#json("DELETE", `calls/${encodeURIComponent(id)}`);
  }

  /** @param {string} id */
  async erase(id) {
    await this.#json("DELETE", `calls/${encodeURIComponent(id)}/recording`);
  }

  /** The timeline of a recorded call, a page. @param {string} id @returns {Promise<Blob>} */
  async timeline(id) {
    const answer = await this.#ask("GET", `calls/${encodeURIComponent(id)}/report`, REPORT_MS);
    return await answer.blob();
  }

  /** @param {string} method @param {string} path @param {number} [withinMs] @returns {Promise<unknown>} */
  async #json(method, path, withinMs = ANSWER_MS) {
    const answer = await this.#ask(method, path, withinMs);
    return answer.json();
  }

  /** @param {string} method @param {string} path @param {number} withinMs */
  async #ask(method, path, withinMs) {
    const headers = { Authorization: `Bearer ${this.#token}` };
    const signal = AbortSignal.timeout(withinMs);
    const answer = await fetch(path, { method, headers, signal, cache: "no-store" }).catch(() => null);
    if (answer === null) throw new AdminError("The relay does not answer.", "UNREACHABLE");
    if (!answer.ok) throw await refusal(answer);
    return answer;
  }
}

/** @param {Response} answer */
async function refusal(answer) {
  try {
    /** @type {unknown} */
    const told = await answer.json();
    const { error, code } = /** @type {{error: string, code: string}} */ (told);
    return new AdminError(error, code);
  } catch {
    return new AdminError(`Something else than the relay has answered, with status ${answer.status}.`, "UNREACHABLE");
  }
}
