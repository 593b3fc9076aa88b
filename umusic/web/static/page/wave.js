// The picture of a sound, drawn from its peaks: what has been played in one colour, the rest in another.

import { ask, recordPath } from "./api.js";

/** Width of a stroke and of the gap after it, in CSS pixels. */
const STROKE = 2;
const GAP = 1;
/** How often a picture that is still being made is asked for again. */
const TRIES = 20;

export class Wave {
  constructor(canvas) {
    this.canvas = canvas;
    this.played = 0;
    this.heights = [];
    new ResizeObserver(() => this.fit()).observe(canvas);
    matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => this.draw());
  }

  /** Shows this record's sound as soon as its peaks are known; a thin line until then. */
  async load(record) {
    this.stop();
    const { signal } = (this.loading = new AbortController());
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        const { bits, data } = await ask("GET", recordPath(record, "/peaks"), { signal });
        if (signal.aborted) return;
        const full = 2 ** (bits - 1);
        // Pairs of the lowest and the highest sample.
        this.peaks = Array.from({ length: data.length / 2 }, (_, at) =>
          Math.max(-data[2 * at], data[2 * at + 1]) / full,
        );
        this.fit();
        return;
      } catch (error) {
        if (signal.aborted || error.status !== 503) return;
        await new Promise((resolve) => setTimeout(resolve, 1000 * (error.retryAfter || 5)));
        if (signal.aborted) return;
      }
    }
  }

  /** Forgets what it shows. */
  stop() {
    this.loading?.abort();
    this.peaks = [];
    this.played = 0;
    this.fit();
  }

  /** `share` of the sound has been played, 0 to 1. */
  progress(share) {
    this.played = share;
    this.draw();
  }

  fit() {
    const { canvas, peaks = [] } = this;
    const scale = devicePixelRatio || 1;
    canvas.width = Math.round(canvas.clientWidth * scale);
    canvas.height = Math.round(canvas.clientHeight * scale);
    const strokes = Math.floor(canvas.clientWidth / (STROKE + GAP));
    const loudest = Math.max(0.01, ...peaks);
    this.heights = Array.from({ length: strokes }, (_, at) => {
      const from = Math.floor((at * peaks.length) / strokes);
      const to = Math.max(Math.floor(((at + 1) * peaks.length) / strokes), from + 1);
      return Math.max(0, ...peaks.slice(from, to)) / loudest;
    });
    this.draw();
  }

  draw() {
    const { canvas, heights, played } = this;
    const pen = canvas.getContext("2d");
    const scale = canvas.width / (canvas.clientWidth || 1);
    const style = getComputedStyle(canvas);
    const [done, rest] = ["--wave-done", "--wave-rest"].map((name) => style.getPropertyValue(name));
    const middle = canvas.clientHeight / 2;
    pen.setTransform(scale, 0, 0, scale, 0, 0);
    pen.clearRect(0, 0, canvas.clientWidth, canvas.clientHeight);
    heights.forEach((height, at) => {
      const half = Math.max(height * (middle - 1), 0.75);
      pen.fillStyle = (at + 0.5) / heights.length < played ? done : rest;
      pen.beginPath();
      pen.roundRect(at * (STROKE + GAP), middle - half, STROKE, 2 * half, STROKE / 2);
      pen.fill();
    });
  }
}
