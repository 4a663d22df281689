"""The playback buffer with time, turns and network jitter, block by block on a given clock."""

from typing import Any

from selenium import webdriver

from tests.support.browser_peer import BrowserPeer
from tests.support.peers import serving
from tests.support.webpage import Page

_RIG = """
const { Playout } = await import("/web/playout.js");
const rate = 16000, size = 128;
const playout = new Playout(rate, rate);
let nowMs = 0;
const tone = (samples, value = 8000) => new Int16Array(samples).fill(value);
const push = (turn, ms, pcm) => playout.push(turn, ms, pcm, nowMs);
const render = (ms) => {
  const all = [];
  for (let i = 0; i < (ms * rate) / 1000 / size; i++) {
    const out = new Float32Array(size);
    playout.render(out, nowMs);
    all.push(...out);
    nowMs += (size * 1000) / rate;
  }
  return all;
};
/** Messages of 20 ms, from `ms` on, one every 20 ms, each `lateMs(i)` after it was sent; what is due is played. */
const stream = (turn, ms, count, lateMs = () => 0, value = 8000) => {
  const fromMs = nowMs;
  for (let i = 0; i < count; i++) {
    render(Math.max(0, fromMs + i * 20 + lateMs(i) - nowMs));
    push(turn, ms + i * 20, tone(320, value));
  }
};
const stalled = (i) => (i >= 10 && i < 40 ? 600 - (i - 10) * 20 : 0);
const sounding = (samples) => samples.filter((x) => x !== 0).length;
"""

CASES: dict[str, tuple[str, Any]] = {
    "nothing sounds before 200 ms are buffered or have passed": (
        """
        push(1, 0, tone(1600));
        const before = sounding(render(192)), after = sounding(render(200));
        return [before, after];
        """,
        [0, 1600],
    ),
    "a full buffer starts at once": ("push(1, 0, tone(4800)); return sounding(render(8));", 128),
    "an interruption fades out within 5 ms and drops the rest": (
        """
        push(1, 0, tone(8000));
        render(40);
        const flushedMs = playout.interrupt(1);
        const tail = render(200);
        const falls = tail.slice(0, 80).every((x, i, all) => i === 0 || x <= all[i - 1]);
        return [sounding(tail) <= 80 && sounding(tail) >= 78, falls, Math.round(flushedMs), playout.bufferMs];
        """,
        [True, True, 455, 0],
    ),
    "late audio of an interrupted turn is never heard, that of the next turn is, from its first sample on": (
        """
        push(1, 0, tone(8000));
        render(40);
        push(2, 500, tone(4000, 4000));
        playout.interrupt(1);
        push(1, 520, tone(320));
        const out = render(600);
        return [out.filter((x) => x === 4000 / 32768).length >= 3920, sounding(out), playout.turn, playout.staleFrames];
        """,
        [True, 4000, 2, 1],
    ),
    "an interruption of a turn that never came fences it": (
        """
        playout.interrupt(3);
        push(3, 0, tone(4800));
        push(4, 0, tone(4800));
        return [sounding(render(400)), playout.turn];
        """,
        [4800, 4],
    ),
    "what comes too late makes a counted hole and a larger buffer": (
        """
        const least = playout.targetMs;
        for (let i = 0; i < 15; i++) push(1, i * 20, tone(320));
        render(600);
        push(1, 300, tone(320));
        for (let i = 16; i < 60; i++) push(1, i * 20, tone(320));
        const rest = sounding(render(1200));
        return [playout.holes, playout.holeMs > 250, playout.targetMs > least + 200, rest];
        """,
        [1, True, True, 45 * 320],
    ),
    "an outage is a counted hole, but does not make the buffer larger": (
        """
        for (let i = 0; i < 15; i++) push(1, i * 20, tone(320));
        render(900);
        playout.changeLink();
        const least = playout.targetMs;
        for (let i = 15; i < 60; i++) push(1, i * 20, tone(320));
        render(400);
        return [playout.holes, playout.holeMs > 500, playout.targetMs <= least];
        """,
        [1, True, True],
    ),
    "silence between two sentences is no hole": (
        """
        push(1, 0, tone(4800)); render(1000);
        push(1, 5000, tone(4800)); render(600);
        return [playout.holes, Math.round(playout.heardMs)];
        """,
        [0, 600],
    ),
    "a turn that follows an interruption is not late because nothing was sent meanwhile": (
        """
        stream(1, 0, 100);
        const before = playout.targetMs;
        playout.interrupt(1);
        render(3000);
        stream(2, 2000, 50);
        return [playout.targetMs <= before, playout.holes];
        """,
        [True, 0],
    ),
    "a new turn is not late because nothing was sent meanwhile": (
        """
        stream(1, 0, 50);
        const before = playout.targetMs;
        render(3000);
        stream(2, 1000, 50);
        return [playout.targetMs <= before, playout.holes];
        """,
        [True, 0],
    ),
    "a pause of the sender within a turn, whose stamps stand still, makes the buffer no larger": (
        """
        stream(1, 0, 50);
        const before = playout.targetMs;
        render(700);
        stream(1, 1000, 100);
        return playout.targetMs <= before;
        """,
        True,
    ),
    "jitter behind such a pause is measured as before it": (
        """
        const jitter = (i) => (i % 10 === 9 ? 180 : 0);
        stream(1, 0, 200, jitter);
        const before = playout.targetMs;
        render(700);
        stream(1, 4000, 200, jitter);
        return [before > 200, Math.abs(playout.targetMs - before) < 10];
        """,
        [True, True],
    ),
    "what an outage held back and what is sent ahead of time, each behind a break, is no jitter": (
        """
        stream(1, 0, 50);
        const before = playout.targetMs;
        render(1500);
        playout.changeLink();
        for (let i = 50; i < 125; i++) push(1, i * 20, tone(320));
        stream(1, 2500, 50);
        playout.interrupt(1);
        render(1000);
        for (let i = 0; i < 10; i++) push(2, 3500 + i * 20, tone(320));
        stream(2, 3700, 50);
        return playout.targetMs <= before;
        """,
        True,
    ),
    "a stall behind what an outage held back is measured all the same": (
        """
        stream(1, 0, 50);
        render(1500);
        playout.changeLink();
        for (let i = 50; i < 125; i++) push(1, i * 20, tone(320));
        stream(1, 2500, 50, (i) => (i >= 20 && i < 40 ? 400 - (i - 20) * 20 : 0));
        return playout.targetMs > 450;
        """,
        True,
    ),
    "one stall is forgotten within seconds of calm": (
        """
        stream(1, 0, 50, stalled);
        const after = playout.targetMs;
        stream(1, 1000, 500);
        return [after > 600, playout.targetMs < 250];
        """,
        [True, True],
    ),
    "what a stall has left behind is taken back in the next pause, and no word with it": (
        """
        stream(1, 0, 50, stalled);
        const behind = playout.bufferMs;
        stream(1, 1000, 250, undefined, 0);
        const taken = playout.bufferMs < playout.targetMs + 80;
        stream(1, 6000, 50);
        render(800);
        return [behind > 500, taken, Math.round(playout.heardMs), playout.holes];
        """,
        [True, True, 7000, 1],
    ),
    "of such a pause 300 ms are left, as the relay leaves them, and a shorter one is as it was": (
        """
        const play = (quietFrames) => {
          const playout = new Playout(rate, rate);
          const values = [...Array(20).fill(8000), ...Array(quietFrames).fill(0), ...Array(80).fill(8000)];
          values.forEach((value, i) => playout.push(1, i * 20, tone(320, value), 0));
          const out = new Float32Array(size), all = [];
          for (let i = 0; i < 400; i++) {
            playout.render(out, (i * size * 1000) / rate);
            all.push(...out);
          }
          return [all.filter((x) => x !== 0).length / 320, all.lastIndexOf(0, all.findLastIndex((x) => x !== 0)) / 320];
        };
        return [10, 15, 16, 50].map((quiet) => play(quiet)).map(([loud, end]) => [loud, Math.round(end) - 20]);
        """,
        [[100, 10], [100, 15], [100, 15], [100, 15]],
    ),
    "a calm network makes the buffer smaller, but not below its least": (
        """
        for (let i = 0; i < 3000; i++) { push(1, i * 20, tone(320)); render(16); nowMs = i * 20; }
        return [playout.targetMs < 120, playout.targetMs >= 80];
        """,
        [True, True],
    ),
    "more than it can hold is refused and counted": (
        """
        for (let i = 0; i < 40; i++) push(1, i * 1000, tone(16000));
        return [playout.bufferMs >= 30000, playout.overflowFrames > 0];
        """,
        [True, True],
    ),
}


async def test_playout(chromium: webdriver.Chrome) -> None:
    """Every case, named by what it guarantees, in one loaded page."""
    page = Page(chromium)
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        found = {name: await page.module(_RIG + body) for name, (body, _) in CASES.items()}

    assert found == {name: wanted for name, (_, wanted) in CASES.items()}


async def test_the_resampler_keeps_the_band_and_suppresses_images(chromium: webdriver.Chrome) -> None:
    """16 to 48 kHz: level within 0.5 dB up to 6.5 kHz, images below -55 dB."""
    page = Page(chromium)
    body = """
    const { Playout } = await import("/web/playout.js");
    const levels = (hz) => {
      const playout = new Playout(16000, 48000);
      const pcm = Int16Array.from({ length: 16000 }, (_, n) => 16000 * Math.sin((2 * Math.PI * hz * n) / 16000));
      playout.push(1, 0, pcm, 0);
      const out = new Float32Array(48000);
      playout.render(out, 0);
      const power = (at) => {
        let re = 0, im = 0;
        for (let n = 4800; n < 43200; n++) {
          const w = 0.5 - 0.5 * Math.cos((2 * Math.PI * (n - 4800)) / 38400);
          re += out[n] * w * Math.cos((2 * Math.PI * at * n) / 48000);
          im += out[n] * w * Math.sin((2 * Math.PI * at * n) / 48000);
        }
        return 20 * Math.log10((Math.hypot(re, im) * 4) / 38400 / (16000 / 32768) + 1e-9);
      };
      return [power(hz), Math.max(power(16000 - hz), power(16000 + hz))];
    };
    return [300, 1000, 3000, 5000, 6500].map(levels);
    """
    async with serving(BrowserPeer()) as port:
        await page.open(port)
        measured = await page.module(body)

    assert all(abs(level_db) < 0.5 and image_db < -55 for level_db, image_db in measured), measured
