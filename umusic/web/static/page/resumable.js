// One file on its way by tus 1.0. umusic says how much of it is there: after a break, a reload of the
// page or a restart of umusic it goes on from that.

import { Refusal, Unreachable, ask, bearer, problemOf } from "./api.js";
import { t } from "./text.js";

const TUS = { "Tus-Resumable": "1.0.0" };
/** Pauses between tries that come to nothing, in ms; the last one again and again. */
const PAUSES = [500, 1000, 2000, 4000, 8000];
/** Where the browser remembers the uploads that are not at their end. */
const BEGUN = "umusic.uploads";
/** What passes by itself, besides 5xx. Of 409 only a wrong offset does. */
const PASSING = [408, 423, 429];
const NO_SPACE = 507;

/** What one knows a file under a name by. */
export function keyOf(file, name) {
  return [name, file.name, file.size, file.lastModified].join("/");
}

/** The ids of uploads that were begun. */
const begun = {
  all: () => problemOf(localStorage.getItem(BEGUN)),
  get: (file, name) => begun.all()[keyOf(file, name)],
  set(file, name, id) {
    // JSON leaves out what is undefined.
    localStorage.setItem(BEGUN, JSON.stringify({ ...begun.all(), [keyOf(file, name)]: id }));
  },
};

/** Forgets all uploads that were begun. */
export function forgetBegun() {
  localStorage.removeItem(BEGUN);
}

/**
 * Sends a file under this name, however often the line breaks, and returns the record that came of it.
 *
 * `onSent` gets the number of bytes that have gone; `onBroken` is called if it cannot go on for the
 * moment. `wake` is an EventTarget: its event "wake" ends a pause. If `signal` is aborted nothing is
 * left of the upload. Throws Refusal, an Error if the file cannot be read any more, or AbortError.
 */
export async function sendResumably(file, name, { signal, wake, onSent, onBroken }) {
  let failures = 0;
  const progress = (sent) => {
    failures = 0;
    onSent(sent);
  };
  const forget = () => begun.set(file, name, undefined);
  // At once, so that whoever sends it again begins anew.
  const giveUp = () => {
    abandon(begun.get(file, name));
    forget();
  };
  signal.addEventListener("abort", giveUp);
  try {
    for (;;) {
      try {
        const record = await attempt(file, name, signal, progress);
        forget();
        return record;
      } catch (error) {
        if (signal.aborted) throw error;
        if (!passes(error)) {
          forget();
          throw error;
        }
        await readable(file);
        onBroken();
        const wait = PAUSES[Math.min(failures++, PAUSES.length - 1)];
        await pause(Math.max(wait, 1000 * (error.retryAfter || 0)), wake, signal);
      }
    }
  } finally {
    signal.removeEventListener("abort", giveUp);
  }
}

/** Goes on as far as the line holds. */
async function attempt(file, name, signal, onSent) {
  let id = begun.get(file, name);
  let state = id && (await look(id, signal));
  if (!state) {
    id = await create(file, name, signal);
    if (signal.aborted) {
      abandon(id);
      throw signal.reason;
    }
    begun.set(file, name, id);
    state = { state: "uploading", offset: 0 };
  }
  while (state.state === "encoding") {
    await pause(PAUSES[0], new EventTarget(), signal);
    state = await look(id, signal);
    if (!state) throw new Unreachable(t("unreachable"));
  }
  if (state.problem) throw new Refusal(state.problem.status, state.problem);
  return state.record ?? (await append(id, file, state.offset, signal, onSent));
}

async function create(file, name, signal) {
  const bytes = new TextEncoder().encode(name);
  const base64 = btoa(String.fromCharCode(...bytes));
  const reply = await fetch("uploads", {
    method: "POST",
    signal,
    headers: {
      ...TUS,
      ...bearer(),
      "Upload-Length": file.size,
      ...(base64 && { "Upload-Metadata": `filename ${base64}` }),
    },
  }).catch(unreachable(signal));
  if (reply.status !== 201) throw refusal(reply.status, await reply.text(), reply.headers);
  return reply.headers.get("Location").split("/").pop();
}

/** How far the upload is; null if it is not there any more. */
async function look(id, signal) {
  try {
    return await ask("GET", `uploads/${id}`, { signal, token: "" });
  } catch (error) {
    if (error.status === 404 || error.status === 410) return null;
    throw error;
  }
}

/** Sends all from `offset` on; returns the record. */
function append(id, file, offset, signal, onSent) {
  // fetch() does not tell how much has been sent.
  const request = new XMLHttpRequest();
  return new Promise((resolve, reject) => {
    const abort = () => request.abort();
    request.open("PATCH", `uploads/${id}`);
    const headers = {
      ...TUS,
      Accept: "application/json",
      "Content-Type": "application/offset+octet-stream",
      "Upload-Offset": offset,
    };
    for (const [header, value] of Object.entries(headers)) request.setRequestHeader(header, value);
    request.upload.onprogress = (event) => onSent(offset + event.loaded);
    request.onload = () => {
      if (request.status === 200) resolve(JSON.parse(request.responseText));
      else reject(refusal(request.status, request.responseText, new Headers(headersOf(request))));
    };
    request.onerror = () => reject(new Unreachable(t("unreachable")));
    request.onabort = () => reject(new DOMException("cancelled", "AbortError"));
    request.onloadend = () => signal.removeEventListener("abort", abort);
    signal.addEventListener("abort", abort);
    request.send(file.slice(offset));
  });
}

function abandon(id) {
  if (!id) return;
  fetch(`uploads/${id}`, { method: "DELETE", headers: TUS, keepalive: true }).catch(() => {});
}

function headersOf(request) {
  const after = request.getResponseHeader("Retry-After");
  return after ? { "Retry-After": after } : {};
}

function refusal(status, text, headers) {
  return new Refusal(status, problemOf(text), Number(headers.get("Retry-After")));
}

function unreachable(signal) {
  return (error) => {
    if (signal.aborted) throw error;
    throw new Unreachable(t("unreachable"));
  };
}

function passes(error) {
  if (error instanceof Unreachable) return true;
  if (!(error instanceof Refusal) || error.status === NO_SPACE) return false;
  const offset = (error.problem.type ?? "").endsWith("/wrong-offset");
  return error.status >= 500 || PASSING.includes(error.status) || offset;
}

/** Throws if the file cannot be read any more. */
async function readable(file) {
  await file
    .slice(0, 1)
    .arrayBuffer()
    .catch(() => {
      throw new Error(t("unreadable"));
    });
}

function pause(milliseconds, wake, signal) {
  return new Promise((resolve, reject) => {
    const end = () => {
      clearTimeout(timer);
      wake.removeEventListener("wake", end);
      removeEventListener("online", end);
      signal.removeEventListener("abort", end);
      if (signal.aborted) reject(signal.reason);
      else resolve();
    };
    const timer = setTimeout(end, milliseconds);
    wake.addEventListener("wake", end);
    addEventListener("online", end);
    signal.addEventListener("abort", end);
  });
}
