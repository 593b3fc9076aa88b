// What the page asks of umusic. Paths are relative, so that it works below a path of a site as well.

import { t } from "./text.js";

const TOKEN = "umusic.token";

/** umusic has answered, and said no: `message` is its own sentence. */
export class Refusal extends Error {
  constructor(status, problem, retryAfter = 0) {
    super(problem.detail || `HTTP ${status}`);
    this.status = status;
    this.problem = problem;
    this.retryAfter = retryAfter;
  }
}

/** No answer came: the network is gone, or the server. */
export class Unreachable extends Error {}

/** The token, kept in this browser alone; null if there is none. */
export const token = {
  get: () => localStorage.getItem(TOKEN),
  set: (value) => localStorage.setItem(TOKEN, value),
  forget: () => localStorage.removeItem(TOKEN),
  /** Calls back when another tab has changed it. */
  watch: (changed) => addEventListener("storage", (event) => event.key === TOKEN && changed()),
};

/** The headers that say who asks. */
export function bearer(value = token.get()) {
  return value ? { Authorization: `Bearer ${value}` } : {};
}

/** The members of a problem (RFC 9457), or none. */
export function problemOf(text) {
  try {
    return Object(JSON.parse(text));
  } catch {
    return {};
  }
}

/**
 * Asks, and returns the JSON of the answer, null if it has none.
 * Throws Refusal, Unreachable, or an AbortError.
 */
export async function ask(method, path, { body, signal, token: as } = {}) {
  let reply, text;
  try {
    reply = await fetch(path, {
      method,
      signal,
      headers: bearer(as),
      body: body && JSON.stringify(body),
      cache: "no-store",
    });
    text = await reply.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Unreachable(t("unreachable"));
  }
  if (!reply.ok) {
    throw new Refusal(reply.status, problemOf(text), Number(reply.headers.get("Retry-After")));
  }
  return text ? JSON.parse(text) : null;
}

/** The path of something that a record has, by itself or below `/record`. */
export function recordPath(record, below = "") {
  return `record${below}?${new URLSearchParams({ id: record.id, user: record.user })}`;
}
