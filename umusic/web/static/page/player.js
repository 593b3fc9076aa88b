// Plays one recording at a time; its waveform is where one seeks.

import { recordPath } from "./api.js";
import { clock, t } from "./text.js";
import { Wave } from "./wave.js";

export class Player {
  /** `changed` is called when another record, or none, is played or stops. */
  constructor(root, changed) {
    this.root = root;
    this.changed = changed;
    this.record = null;
    const part = (id) => root.querySelector(`#${id}`);
    this.audio = part("audio");
    this.toggle = part("player-toggle");
    this.seek = part("seek");
    this.name = part("player-name");
    this.now = part("player-now");
    this.end = part("player-end");
    this.error = part("player-error");
    this.wave = new Wave(part("wave"));
    this.toggle.onclick = () => this.playPause();
    part("player-close").onclick = () => this.close();
    this.seek.oninput = () => this.jump(Number(this.seek.value));
    this.audio.ontimeupdate = () => this.show();
    this.audio.onplay = this.audio.onpause = () => this.tell();
    this.audio.onerror = () => this.fail();
  }

  get playing() {
    return this.record !== null && !this.audio.paused;
  }

  /** Plays the record, or pauses it, or goes on with it. */
  play(record) {
    if (this.record?.id === record.id && !this.audio.error) {
      this.playPause();
      return;
    }
    this.record = record;
    this.error.hidden = true;
    this.root.hidden = false;
    document.body.classList.add("playing");
    this.audio.src = recordPath(record);
    this.end.textContent = clock(record.duration);
    this.seek.max = record.duration;
    this.seek.step = Math.max(record.duration / 200, 0.01);
    this.rename(record);
    this.wave.load(record);
    this.changed();
    this.start();
  }

  /** The record is called otherwise now. */
  rename(record) {
    if (this.record?.id !== record.id) return;
    this.record = record;
    this.name.textContent = record.name ?? t("unnamed");
    if (navigator.mediaSession)
      navigator.mediaSession.metadata = new MediaMetadata({ title: this.name.textContent });
    this.show();
  }

  /** Ends the playing, if it is of this record, or of any. */
  close(record = this.record) {
    if (this.record === null || this.record.id !== record?.id) return;
    this.record = null;
    this.audio.pause();
    this.audio.removeAttribute("src");
    this.audio.load();
    this.wave.stop();
    this.root.hidden = true;
    document.body.classList.remove("playing");
    this.changed();
  }

  playPause() {
    if (this.audio.paused) this.start();
    else this.audio.pause();
  }

  start() {
    // What keeps it from playing is told by the error event; a pause in between is no error.
    this.audio.play().catch(() => {});
  }

  jump(seconds) {
    this.audio.currentTime = seconds;
    this.show();
  }

  show() {
    if (this.record === null) return;
    const { currentTime } = this.audio;
    const { duration } = this.record;
    this.now.textContent = clock(currentTime);
    this.seek.value = currentTime;
    this.seek.setAttribute(
      "aria-valuetext",
      t("position", { now: clock(currentTime), end: clock(duration) }),
    );
    this.wave.progress(currentTime / duration);
    setPlaying(this.toggle, this.playing, this.name.textContent);
  }

  /** Shows it, and has the list show it as well: not at every moment, for the list may be long. */
  tell() {
    this.show();
    this.changed();
  }

  fail() {
    if (this.record === null) return;
    this.error.textContent = t("cannotPlay");
    this.error.hidden = false;
    this.tell();
  }
}

/** Has a button say whether it would play or pause what is named. */
export function setPlaying(button, playing, name) {
  const text = t(playing ? "pause" : "play", { name });
  if (button.title === text) return;
  button.title = text;
  button.setAttribute("aria-label", text);
  const icon = document.createElementNS("http://www.w3.org/2000/svg", "svg");
  const use = document.createElementNS("http://www.w3.org/2000/svg", "use");
  icon.setAttribute("aria-hidden", "true");
  use.setAttribute("href", playing ? "#i-pause" : "#i-play");
  icon.append(use);
  button.replaceChildren(icon);
}
