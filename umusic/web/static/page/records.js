// The list of recordings: a page at a time as one scrolls, searched, renamed in place, deleted.

import { ask, recordPath } from "./api.js";
import { setPlaying } from "./player.js";
import { clock, date, size, t } from "./text.js";

const PAGE = 50;
/** How long after the last key a search begins, in ms. */
const TYPING = 250;

export class Records {
  /**
   * `parts`: the elements list, template, search, more, nothing, error. `player` plays them,
   * `copy` takes a link, `confirm` asks whether, `notice` tells what was done, `failed` gets
   * errors that end the session, `changed` is called when there are more or fewer.
   */
  constructor(parts, tools) {
    Object.assign(this, parts, tools);
    this.rows = new Map();
    this.search.oninput = () => {
      clearTimeout(this.typing);
      this.typing = setTimeout(() => this.load(), TYPING);
    };
    this.more.onclick = () => this.loadMore();
    this.error.querySelector("button").onclick = () =>
      this.next === undefined ? this.load() : this.loadMore();
    new IntersectionObserver(
      ([seen]) => seen.isIntersecting && !this.more.hidden && this.loadMore(),
      { rootMargin: "600px" },
    ).observe(this.more);
  }

  /** Shows the list from its beginning; of what is searched for, if anything is. */
  async load() {
    this.asking?.abort();
    this.asking = null;
    this.next = undefined;
    await this.fetch(true);
  }

  async loadMore() {
    if (!this.asking && this.next) await this.fetch(false);
  }

  async fetch(anew) {
    const asking = (this.asking = new AbortController());
    const text = this.search.value.trim();
    const query = new URLSearchParams({ limit: PAGE });
    if (text) query.set("q", text);
    if (!anew) query.set("cursor", this.next);
    this.error.hidden = true;
    try {
      const page = await ask("GET", `records?${query}`, { signal: asking.signal });
      if (anew) this.clear();
      const rows = page.items.filter(({ id }) => !this.rows.has(id)).map((each) => this.row(each));
      this.list.append(...rows);
      this.next = page.next;
      this.tell(text);
    } catch (error) {
      if (asking.signal.aborted) return;
      this.error.querySelector("span").textContent = error.message;
      this.error.hidden = false;
      this.more.hidden = true;
      this.failed(error);
    } finally {
      if (this.asking === asking) this.asking = null;
    }
    // Still in sight: the observer tells only of changes.
    if (this.next && this.more.getBoundingClientRect().top < innerHeight) await this.loadMore();
  }

  tell(text = this.search.value.trim()) {
    this.more.hidden = !this.next;
    this.nothing.hidden = this.rows.size > 0;
    this.nothing.textContent = text ? t("notFound", { text }) : t("nothing");
  }

  clear() {
    this.rows.clear();
    this.list.replaceChildren();
  }

  /** Puts a new record on top. */
  add(record) {
    const text = this.search.value.trim().toLowerCase();
    if (this.rows.has(record.id) || !(record.name ?? "").toLowerCase().includes(text)) return;
    this.list.prepend(this.row(record));
    this.tell();
  }

  /** Has all rows say whether they are playing. */
  showPlaying() {
    for (const { row, record } of this.rows.values()) {
      const current = this.player.record?.id === record.id;
      row.classList.toggle("current", current);
      setPlaying(row.querySelector(".play"), current && this.player.playing, nameOf(record));
    }
  }

  row(record) {
    const row = this.template.content.firstElementChild.cloneNode(true);
    const part = (name) => row.querySelector(name);
    const entry = { row, record };
    this.rows.set(record.id, entry);
    part(".play").onclick = () => this.player.play(entry.record);
    part(".copy").onclick = () => this.copy(entry.record.link);
    part(".edit").onclick = () => this.edit(entry);
    part(".remove").onclick = () => this.remove(entry);
    part(".name").ondblclick = () => this.edit(entry);
    part(".download").href = recordPath(record);
    this.describe(entry);
    return row;
  }

  describe({ row, record }) {
    const name = nameOf(record);
    const shown = row.querySelector(".name");
    shown.textContent = name;
    shown.classList.toggle("unnamed", record.name === null);
    const facts = [clock(record.duration), size(record.size), date(record.created_at)];
    row.querySelector(".facts").textContent = facts.join(" · ");
    const labels = { copy: "copyLink", download: "download", edit: "rename", remove: "remove" };
    for (const [part, key] of Object.entries(labels)) {
      const text = t(key, { name });
      row.querySelector(`.${part}`).setAttribute("aria-label", text);
      row.querySelector(`.${part}`).title = text;
    }
    const current = this.player.record?.id === record.id;
    setPlaying(row.querySelector(".play"), current && this.player.playing, name);
  }

  /** Turns the name into a field: Enter keeps what is written there, Escape does not. */
  edit(entry) {
    const { row, record } = entry;
    const form = row.querySelector(".rename");
    const name = row.querySelector(".name");
    const input = form.elements.name;
    const end = () => {
      form.hidden = true;
      name.hidden = false;
      this.complain(row, "");
      row.querySelector(".edit").focus();
    };
    input.value = record.name ?? "";
    input.setAttribute("aria-label", t("newName"));
    form.hidden = false;
    name.hidden = true;
    input.focus();
    input.select();
    input.onkeydown = (event) => {
      if (event.key === "Escape") end();
    };
    input.onblur = () => {
      if (input.value === (record.name ?? "") && !form.hidden) end();
    };
    form.onsubmit = async (event) => {
      event.preventDefault();
      try {
        const body = { name: input.value };
        entry.record = await ask("PATCH", recordPath(record), { body });
        this.describe(entry);
        this.player.rename(entry.record);
        end();
      } catch (error) {
        this.complain(row, error.message);
        this.failed(error);
      }
    };
  }

  async remove(entry) {
    const { row, record } = entry;
    const name = nameOf(record);
    const yes = await this.confirm(t("removeTitle"), t("removeText", { name }), t("removeYes"));
    if (!yes) return;
    try {
      await ask("DELETE", recordPath(record));
    } catch (error) {
      // Gone already, by another tab perhaps.
      if (error.status !== 404) {
        this.complain(row, error.message);
        this.failed(error);
        return;
      }
    }
    this.player.close(record);
    const neighbour = row.nextElementSibling ?? row.previousElementSibling;
    row.remove();
    this.rows.delete(record.id);
    (neighbour?.querySelector(".remove") ?? this.search).focus();
    this.notice(t("removed", { name }));
    this.tell();
    this.changed();
  }

  complain(row, text) {
    const error = row.querySelector(".error");
    error.textContent = text;
    error.hidden = !text;
  }
}

function nameOf(record) {
  return record.name ?? t("unnamed");
}
