/**
 * Band-limited interpolation at any ratio: a windowed sinc (Blackman, 32 taps) in a table of 256 phases, interpolated
 * linearly between phases (J. O. Smith, "Digital Audio Resampling"). Runs in the audio thread and allocates nothing there.
 * @module
 */

export const HALF_TAPS = 16;
const PHASES = 256;
const TAPS = 2 * HALF_TAPS;

/**
 * @param {number} cutoff share of the input's Nyquist frequency that passes
 * @returns {Float32Array} (PHASES + 1) rows of TAPS weights; each row sums to 1
 */
export function sincTable(cutoff) {
  const table = new Float32Array((PHASES + 1) * TAPS);
  for (let phase = 0; phase <= PHASES; phase++) {
    let sum = 0;
    for (let tap = 0; tap < TAPS; tap++) {
      const x = tap - HALF_TAPS + 1 - phase / PHASES;
      const angle = (Math.PI * x) / HALF_TAPS;
      const window = Math.abs(x) >= HALF_TAPS ? 0 : 0.42 + 0.5 * Math.cos(angle) + 0.08 * Math.cos(2 * angle);
      const weight = x === 0 ? cutoff : Math.sin(Math.PI * cutoff * x) / (Math.PI * x);
      table[phase * TAPS + tap] = weight * window;
      sum += weight * window;
    }
    for (let tap = 0; tap < TAPS; tap++) table[phase * TAPS + tap] /= sum;
  }
  return table;
}

/**
 * The value at `position + fraction` of a ring.
 * @param {Float32Array} table
 * @param {Float32Array} ring its length is a power of two
 * @param {number} position
 * @param {number} fraction 0 to below 1
 */
export function interpolate(table, ring, position, fraction) {
  const mask = ring.length - 1;
  const phase = Math.floor(fraction * PHASES);
  const mix = fraction * PHASES - phase;
  const row = phase * TAPS;
  let low = 0;
  let high = 0;
  for (let tap = 0; tap < TAPS; tap++) {
    const sample = ring[(position + tap - HALF_TAPS + 1) & mask];
    low += sample * table[row + tap];
    high += sample * table[row + TAPS + tap];
  }
  return low + (high - low) * mix;
}
