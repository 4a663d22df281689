/**
 * The parts of the operator's page share these: elements, copies of templates, and values in words.
 * @module
 */

/** @param {string} id */
export const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** The first element of a new copy of a template. @param {string} id */
export function copyOf(id) {
  const template = /** @type {HTMLTemplateElement} */ (document.getElementById(id));
  return /** @type {HTMLElement} */ (document.importNode(template.content, true).firstElementChild);
}

/** Set the text of the part of `root` with this name, if it has another. @param {HTMLElement} root @param {string} name @param {string} text */
export function setText(root, name, text) {
  const part = /** @type {HTMLElement} */ (root.querySelector(`[data-value="${name}"]`));
  if (part.textContent !== text) part.textContent = text;
}

/** The button of `root` that does this. @param {HTMLElement} root @param {string} does */
export const button = (root, does) =>
  /** @type {HTMLButtonElement} */ (root.querySelector(`button[data-does="${does}"]`));

/** A length of time, as 12:34 or 1:02:34. @param {number} seconds */
export function span(seconds) {
  const whole = Math.floor(seconds);
  const two = (/** @type {number} */ number) => String(number).padStart(2, "0");
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  return hours ? `${hours}:${two(minutes)}:${two(whole % 60)}` : `${minutes}:${two(whole % 60)}`;
}

/** So many letters of a call's id tell it from others, and are what `relay tail` takes. @param {string} id */
export const shortId = (id) => id.slice(0, 8);
