/**
 * The one error of the client library, and its codes.
 * @module
 */

/**
 * @typedef {"BROWSER_UNSUPPORTED" | "INSECURE_PAGE" | "MICROPHONE_REFUSED" | "MICROPHONE_MISSING" | "MICROPHONE_BUSY"
 *   | "MICROPHONE_LOST" | "SERVER_GONE" | "SESSION_GONE" | "AUDIO_FAILED"} ClientCode
 */

/** Something went wrong: `code` is one of `ClientCode`, or one of the relay's. */
export class RelayError extends Error {
  /**
   * @param {ClientCode | string} code
   * @param {string} message what happened and what to do
   * @param {{fatal?: boolean, leg?: "assistant" | "relay", sessionId?: string}} [options] `fatal`: the conversation is
   *   over or could not begin; `leg`: what failed, if it was nothing on this side; `sessionId`: of the session that goes
   *   on in another process of the relay, which by itself is no reason to give up
   */
  constructor(code, message, { leg, sessionId, fatal = !sessionId } = {}) {
    super(message);
    this.name = "RelayError";
    this.code = code;
    this.fatal = fatal;
    this.leg = leg;
    this.sessionId = sessionId;
  }
}
