// Uploads: chosen files wait, are sent two at a time, and say how they fare.

import { keyOf, sendResumably } from "./resumable.js";
import { clock, share, size, t } from "./text.js";

const AT_ONCE = 2;
/** Over how long the speed is measured, and how often it is shown, in ms. */
const SPEED_WINDOW = 5000;
const SHOW_EVERY = 200;

/** One file on its way, and its row. */
class Upload {
  constructor(queue, file, row) {
    Object.assign(this, { queue, file, row, name: file.name, state: "waiting" });
    this.bar = row.querySelector("progress");
    this.text = row.querySelector(".state");
    this.buttons = Object.fromEntries(
      ["other", "copy", "retry", "cancel"].map((each) => [each, row.querySelector(`.${each}`)]),
    );
    this.buttons.cancel.onclick = () => this.cancel();
    this.buttons.retry.onclick = () => this.again();
    this.buttons.other.onclick = () => this.sendAs(this.buttons.other.value);
    this.buttons.copy.onclick = () => queue.copy(this.link);
    this.show("waiting", t("waiting"));
  }

  get live() {
    return this.state === "waiting" || this.state === "sending";
  }

  get key() {
    return keyOf(this.file, this.name);
  }

  get settled() {
    return this.state === "done" || this.state === "cancelled";
  }

  show(state, text) {
    this.state = state;
    this.row.dataset.state = state;
    this.row.querySelector(".name").textContent = this.name;
    this.text.textContent = text;
    const { cancel, retry, copy, other } = this.buttons;
    label(cancel, t(this.live ? "cancelUpload" : "dismiss", { name: this.name }));
    label(retry, t("retryUpload", { name: this.name }));
    label(copy, t("copyLink", { name: this.name }));
    retry.hidden = state !== "failed" && state !== "cancelled";
    copy.hidden = !this.link;
    other.hidden = true;
    this.bar.hidden = !this.live;
    this.bar.setAttribute("aria-label", this.name);
    if (!this.live) this.queue.ended(`${this.name}: ${text}`);
  }

  /** Sends the file, and comes back when that has ended, however it did. */
  async send() {
    this.marks = [];
    this.bar.value = 0;
    this.aborter = new AbortController();
    this.wake = new EventTarget();
    this.show("sending", t("started", { sent: size(0), size: size(this.file.size) }));
    try {
      const record = await sendResumably(this.file, this.name, {
        signal: this.aborter.signal,
        wake: this.wake,
        onSent: (sent) => this.progress(sent),
        onBroken: () => this.broken(),
      });
      this.take(record);
    } catch (error) {
      if (this.state === "sending") this.refuse(error);
    }
  }

  /** It cannot go on for the moment; it tries again by itself, or at once by one click. */
  broken() {
    this.marks = [];
    this.text.textContent = t("lineBroken", { share: share(this.bar.value) });
    this.buttons.retry.hidden = false;
  }

  progress(sent) {
    if (this.state !== "sending") return;
    const now = performance.now();
    this.bar.value = this.file.size ? sent / this.file.size : 1;
    this.buttons.retry.hidden = true;
    if (now - (this.shownAt ?? 0) < SHOW_EVERY && sent < this.file.size) return;
    this.shownAt = now;
    this.marks.push([now, sent]);
    while (this.marks.length > 2 && this.marks[0][0] < now - SPEED_WINDOW) this.marks.shift();
    const [[since, before]] = this.marks;
    const speed = ((sent - before) / (now - since)) * 1000;
    const said = { sent: size(sent), size: size(this.file.size) };
    if (sent >= this.file.size) this.text.textContent = t("finishing");
    else if (speed > 0) {
      const left = clock(Math.ceil((this.file.size - sent) / speed));
      this.text.textContent = t("progress", { ...said, speed: size(speed), left });
    } else this.text.textContent = t("started", said);
  }

  take(record) {
    this.link = record.link;
    this.name = record.name ?? this.name;
    this.show("done", t("done", { duration: clock(record.duration), size: size(record.size) }));
    this.queue.done(record);
  }

  refuse(error) {
    const problem = error.problem ?? {};
    this.link = problem.link;
    this.show("failed", error.message);
    if ((problem.type ?? "").endsWith("/record-name-taken")) {
      const { other, retry } = this.buttons;
      other.value = this.queue.freeName(this.name);
      other.textContent = t("sendAs", { name: other.value });
      other.hidden = false;
      retry.hidden = true;
    }
  }

  sendAs(name) {
    this.name = name;
    this.again();
  }

  again() {
    if (this.live) this.wake?.dispatchEvent(new Event("wake"));
    if (this.live || this.state === "done") return;
    this.link = undefined;
    this.show("waiting", t("waiting"));
    this.queue.run();
  }

  cancel() {
    if (!this.live) {
      this.row.remove();
      this.queue.drop(this);
      return;
    }
    this.show("cancelled", t("cancelled"));
    this.aborter?.abort();
  }
}

/** All uploads of this page. `done` gets each new record, `copy` a link, `say` what those hear who do
 * not see the list; `changed` is called when an upload has begun or ended. */
export class Uploads {
  constructor(list, template, { done, copy, say, changed }) {
    Object.assign(this, { list, template, done, copy, say, onChange: changed });
    this.all = [];
    addEventListener("beforeunload", (event) => {
      if (this.live) event.preventDefault();
    });
  }

  get live() {
    return this.all.filter((each) => each.live).length;
  }

  get settled() {
    return this.all.filter((each) => each.settled).length;
  }

  add(files) {
    for (const file of files) {
      const row = this.template.content.firstElementChild.cloneNode(true);
      this.list.append(row);
      this.all.push(new Upload(this, file, row));
    }
    this.changed();
    this.run();
  }

  /** Begins those whose turn it is; of the same file one at a time. */
  run() {
    for (const next of this.all.filter((each) => each.state === "waiting")) {
      const sending = this.all.filter((each) => each.state === "sending");
      if (sending.length >= AT_ONCE) return;
      if (!sending.some((each) => each.key === next.key)) next.send().finally(() => this.run());
    }
  }

  changed() {
    this.onChange();
  }

  ended(how) {
    this.say(how);
    this.changed();
  }

  drop(upload) {
    this.all = this.all.filter((each) => each !== upload);
    this.changed();
  }

  /** Takes what needs no attention any more off the list. */
  clear(unneeded = (each) => each.settled) {
    for (const each of this.all.filter(unneeded)) each.row.remove();
    this.all = this.all.filter((each) => !unneeded(each));
    this.changed();
  }

  /** Ends all of them, and empties the list. */
  stop() {
    for (const each of this.all) if (each.live) each.cancel();
    this.clear(() => true);
  }

  /** A name with the next number, like “take (2).wav”. */
  freeName(name) {
    const [, stem, number, ending] = /^(.*?)(?: \((\d+)\))?(\.[^.]*)?$/su.exec(name);
    return `${stem} (${Number(number ?? 1) + 1})${ending ?? ""}`;
  }
}

function label(element, text) {
  element.setAttribute("aria-label", text);
  element.title = text;
}
