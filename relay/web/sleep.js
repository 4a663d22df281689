/**
 * The timer of code that awaits.
 * @module
 */

/** @param {number} ms */
export function sleep(ms) {
  return new Promise((resolve) => {
    setTimeout(resolve, ms);
  });
}
