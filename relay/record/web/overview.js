/**
 * Draws the whole call in a strip: both waves, the worst moments, and the stretch that is shown below.
 * @module
 */

export const OVERVIEW_HEIGHT = 44;

/**
 * @param {CanvasRenderingContext2D} pen
 * @param {number} width
 * @param {(name: string) => string} color
 * @param {import("./call.js").RecordedCall} call
 * @param {import("./view.js").View} view
 */
export function drawOverview(pen, width, color, call, view) {
  const middle = OVERVIEW_HEIGHT / 2;
  const perPixel = view.durationMs / width;
  pen.fillStyle = color("paper");
  pen.fillRect(0, 0, width, OVERVIEW_HEIGHT);
  const sides = /** @type {const} */ ([
    ["caller", "user"],
    ["heard", "assistant"],
  ]);
  for (const [side, name] of sides) {
    pen.fillStyle = color(name);
    for (let x = 0; x < width; x++) {
      const tall = Math.min(1, call.waves[side].high.over(x * perPixel, (x + 1) * perPixel) / 90) * (middle - 2);
      if (tall >= 1) pen.fillRect(x, side === "caller" ? middle - tall : middle, 1, tall);
    }
  }
  pen.fillStyle = color("cut");
  for (const { at } of call.lists.moments.slice(0, call.data.worst)) pen.fillRect((at / view.durationMs) * width - 1.5, 0, 3, OVERVIEW_HEIGHT);
  const left = (view.fromMs / view.durationMs) * width;
  const right = (view.toMs / view.durationMs) * width;
  pen.fillStyle = color("ink");
  pen.globalAlpha = 0.12;
  pen.fillRect(left, 0, Math.max(3, right - left), OVERVIEW_HEIGHT);
  pen.globalAlpha = 1;
  pen.strokeStyle = color("ink");
  pen.lineWidth = 1;
  pen.strokeRect(left + 0.5, 0.5, Math.max(2, right - left - 1), OVERVIEW_HEIGHT - 1);
}
