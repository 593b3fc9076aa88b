// The page: who is here, what is being sent, what is kept, what is playing.

import { Refusal, ask, token } from "./api.js";
import { Player } from "./player.js";
import { Records } from "./records.js";
import { forgetBegun } from "./resumable.js";
import { clock, size, t, translate } from "./text.js";
import { Uploads } from "./uploads.js";

const $ = (id) => document.getElementById(id);
/** How long a notice stays, in ms. */
const NOTICE = 4000;

translate();
const here = new URL(".", location);
$("curl").textContent = `curl -s ${here}user -d '{"name": "${t("yourName")}"}'
curl -H 'Authorization: Bearer TOKEN' -T take.wav ${here}record/`;

const player = new Player($("player"), () => records.showPlaying());
const records = new Records(
  {
    list: $("records"),
    template: $("record-row"),
    search: $("search"),
    more: $("more"),
    nothing: $("nothing"),
    error: $("library-error"),
  },
  { player, copy, confirm, notice, failed: endIfUnknown, changed: showUsage },
);
const uploads = new Uploads($("uploads"), $("upload-row"), {
  copy,
  done(record) {
    records.add(record);
    showUsage();
  },
  say(how) {
    $("spoken").textContent = how;
  },
  changed() {
    $("sending").hidden = !uploads.all.length;
    $("sending-clear").hidden = !uploads.settled;
  },
});

// --- who is here --------------------------------------------------------------------------------

async function enter() {
  if (!token.get()) {
    leave();
    return;
  }
  $("welcome").hidden = true;
  $("studio").hidden = false;
  $("account-open").hidden = false;
  await Promise.all([records.load(), showUsage()]);
}

function leave(why = "") {
  player.close();
  uploads.stop();
  forgetBegun();
  records.clear();
  $("account").close();
  $("studio").hidden = true;
  $("account-open").hidden = true;
  $("welcome").hidden = false;
  say($("welcome-error"), why);
  $("register").elements.name.focus();
}

/** A token that is not known any more is forgotten. */
function endIfUnknown(error) {
  if (!(error instanceof Refusal) || error.status !== 401) return;
  token.forget();
  leave(t("ended"));
}

$("register").onsubmit = (event) =>
  open(event, async ({ name }) => (await ask("POST", "user", { body: { name }, token: "" })).token);

$("enter").onsubmit = (event) =>
  open(event, async ({ token: pasted }) => {
    const trimmed = pasted.trim();
    // Nothing else fits into a header.
    if (!/^[\x21-\x7e]+$/.test(trimmed)) throw new Error(t("noToken"));
    await ask("GET", "user", { token: trimmed });
    return trimmed;
  });

async function open(event, find) {
  event.preventDefault();
  const form = event.target;
  const button = form.querySelector("button");
  button.disabled = true;
  say($("welcome-error"), "");
  try {
    token.set(await find(Object.fromEntries(new FormData(form))));
    form.reset();
    await enter();
  } catch (error) {
    say($("welcome-error"), error.message);
  } finally {
    button.disabled = false;
  }
}

async function showUsage() {
  try {
    const account = await ask("GET", "user");
    $("account-name").textContent = account.name;
    $("account-title").firstElementChild.textContent = account.name;
    const quota = account.quota;
    $("usage").textContent = t(quota === null ? "usage" : "usageOf", {
      count: t("recordings", { count: account.records }),
      duration: clock(account.seconds),
      size: size(account.bytes),
      quota: quota === null ? "" : size(quota),
    });
    $("quota").hidden = quota === null;
    $("quota").firstElementChild.style.width = `${Math.min(100, (100 * account.bytes) / quota)}%`;
  } catch (error) {
    endIfUnknown(error);
  }
}

// --- the account --------------------------------------------------------------------------------

$("account-open").onclick = () => {
  $("account-token").value = token.get();
  showToken(false);
  say($("account-error"), "");
  $("account").showModal();
};

function showToken(shown) {
  $("account-token").type = shown ? "text" : "password";
  $("token-show").setAttribute("aria-pressed", shown);
}

$("token-show").onclick = () => showToken($("account-token").type === "password");
$("token-copy").onclick = () => copy(token.get());

$("token-renew").onclick = () =>
  change(async () => {
    token.set((await ask("POST", "user/token")).token);
    $("account-token").value = token.get();
    notice(t("renewed"));
  });

$("token-forget").onclick = () =>
  change(async () => {
    if (!(await confirm(t("forgetTitle"), t("forgetText"), t("forgetYes")))) return;
    token.forget();
    leave();
  });

$("account-delete").onclick = () =>
  change(async () => {
    const asked = [t("deleteAccountTitle"), t("deleteAccountText"), t("removeYes")];
    if (!(await confirm(...asked))) return;
    await ask("DELETE", "user");
    token.forget();
    leave();
  });

async function change(act) {
  say($("account-error"), "");
  try {
    await act();
  } catch (error) {
    say($("account-error"), error.message);
    endIfUnknown(error);
  }
}

// --- files come ---------------------------------------------------------------------------------

$("files").onchange = (event) => {
  uploads.add(event.target.files);
  event.target.value = ""; // so that the same file can be chosen again
};
$("sending-clear").onclick = () => uploads.clear();

for (const type of ["dragenter", "dragover", "dragleave", "drop"]) {
  addEventListener(type, (event) => {
    const files = event.dataTransfer?.types.includes("Files");
    if (!files || $("studio").hidden) return;
    event.preventDefault();
    const over = type === "dragenter" || type === "dragover";
    $("drop").classList.toggle("over", over);
    $("drop").querySelector(".drop-title").textContent = t(over ? "dropNow" : "drop");
    if (type === "drop") uploads.add(event.dataTransfer.files);
  });
}

// --- what is said and asked ---------------------------------------------------------------------

function say(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

let noticed;
function notice(text) {
  clearTimeout(noticed);
  $("notice").textContent = text;
  noticed = setTimeout(() => ($("notice").textContent = ""), NOTICE);
}

/** Asks whether; true if so. */
function confirm(title, text, yes) {
  const dialog = $("confirm");
  $("confirm-title").textContent = title;
  $("confirm-text").textContent = text;
  $("confirm-yes").textContent = yes;
  dialog.returnValue = "no";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "yes"), { once: true });
  });
}

async function copy(text) {
  try {
    await navigator.clipboard.writeText(text);
    notice(t("copied"));
  } catch {
    // Where the page is not secure there is no clipboard.
    prompt(t("copyBy"), text);
  }
}

token.watch(enter);
enter();
