// What the page says, in English and Russian, and how it writes numbers, by the browser's language.

const ENGLISH = {
  welcome: "Send a WAV, get a link to an MP3",
  lead: "The MP3 is made while your recording is still on its way: the link is there the moment the last byte has arrived.",
  registerTitle: "New here",
  yourName: "Your name",
  register: "Start",
  enterTitle: "Been here before",
  token: "Token",
  noToken: "This is not a token.",
  enter: "Enter",
  terminal: "Or from a terminal:",
  studio: "Your recordings",
  drop: "Drop WAV files here, or choose them",
  dropHint: "Of any size. If the line breaks, they go on where they were.",
  dropNow: "Let go to send",
  sending: "Uploads",
  clear: "Clear the finished",
  library: "Recordings",
  search: "Search by name",
  more: "Show more",
  nothing: "Nothing here yet. Drop a WAV above.",
  notFound: "No name holds “{text}”.",
  again: "Try again",
  player: "Player",
  seek: "Position",
  position: "{now} of {end}",
  play: "Play {name}",
  pause: "Pause {name}",
  close: "Close",
  cannotPlay: "This recording cannot be played.",
  tokenKept: "This token is your key. It is kept in this browser only: copy it to enter elsewhere, or to send with curl.",
  show: "Show",
  copy: "Copy",
  renew: "Change the token",
  renewed: "There is a new token; the old one is dead.",
  forget: "Forget the token in this browser",
  forgetTitle: "Forget the token?",
  forgetText: "Without the token nobody gets into your library again, you neither. Have you copied it?",
  forgetYes: "Forget",
  deleteAccount: "Delete my account and all recordings",
  deleteAccountTitle: "Delete everything?",
  deleteAccountText: "Your account, all recordings and their links are gone at once, for good.",
  docs: "For programs: the interface, described",
  cancel: "Cancel",
  copyLink: "Copy the link to {name}",
  copied: "Copied.",
  copyBy: "Copy it from here:",
  download: "Download {name}",
  rename: "Rename {name}",
  newName: "New name",
  remove: "Delete {name}",
  removeTitle: "Delete this recording?",
  removeText: "“{name}” and its link are gone for good.",
  removeYes: "Delete",
  removed: "“{name}” is deleted.",
  unnamed: "without a name",
  waiting: "Waits for its turn",
  progress: "{sent} of {size} · {speed}/s · {left} left",
  started: "{sent} of {size}",
  finishing: "All sent, the end of the MP3 is being made…",
  done: "Done: {duration}, {size}",
  cancelled: "Cancelled",
  lineBroken: "The connection broke at {share}. It goes on by itself when it is back.",
  unreachable: "umusic cannot be reached. Is the network there?",
  unreadable: "The file cannot be read any more. Was it changed or moved?",
  cancelUpload: "Cancel {name}",
  dismiss: "Take {name} off the list",
  retryUpload: "Send {name} again",
  sendAs: "Send as “{name}”",
  ended: "Your token is not valid any more. Enter another one.",
  usage: "{count}, {duration}, {size}",
  usageOf: "{count}, {duration}, {size} of {quota}",
  recordings: { one: "{count} recording", other: "{count} recordings" },
};

const RUSSIAN = {
  welcome: "Отправьте WAV и получите ссылку на MP3",
  lead: "MP3 создаётся, пока запись ещё отправляется: ссылка готова в тот же миг, когда дошёл последний байт.",
  registerTitle: "Я здесь впервые",
  yourName: "Ваше имя",
  register: "Начать",
  enterTitle: "У меня есть токен",
  token: "Токен",
  noToken: "Это не токен.",
  enter: "Войти",
  terminal: "Или из терминала:",
  studio: "Ваши записи",
  drop: "Перетащите сюда файлы WAV или выберите их",
  dropHint: "Любого размера. Если связь прервётся, отправка продолжится с того же места.",
  dropNow: "Отпустите, чтобы отправить",
  sending: "Отправка",
  clear: "Убрать законченные",
  library: "Записи",
  search: "Поиск по названию",
  more: "Показать ещё",
  nothing: "Здесь пока пусто. Перетащите WAV наверх.",
  notFound: "Нет названий, где есть «{text}».",
  again: "Попробовать снова",
  player: "Проигрыватель",
  seek: "Положение",
  position: "{now} из {end}",
  play: "Слушать {name}",
  pause: "Приостановить {name}",
  close: "Закрыть",
  cannotPlay: "Эту запись не удаётся проиграть.",
  tokenKept: "Этот токен — ваш ключ. Он хранится только в этом браузере: скопируйте его, чтобы войти с другого устройства или отправлять записи через curl.",
  show: "Показать",
  copy: "Копировать",
  renew: "Сменить токен",
  renewed: "Токен новый, старый больше не действует.",
  forget: "Забыть токен в этом браузере",
  forgetTitle: "Забыть токен?",
  forgetText: "Без токена в вашу библиотеку больше никто не войдёт, и вы тоже. Вы его скопировали?",
  forgetYes: "Забыть",
  deleteAccount: "Удалить меня и все записи",
  deleteAccountTitle: "Удалить всё?",
  deleteAccountText: "Ваша учётная запись, все записи и ссылки на них исчезнут сразу и навсегда.",
  docs: "Для программ: описание интерфейса",
  cancel: "Отмена",
  copyLink: "Копировать ссылку на {name}",
  copied: "Скопировано.",
  copyBy: "Скопируйте отсюда:",
  download: "Скачать {name}",
  rename: "Переименовать {name}",
  newName: "Новое название",
  remove: "Удалить {name}",
  removeTitle: "Удалить эту запись?",
  removeText: "«{name}» и ссылка на неё исчезнут навсегда.",
  removeYes: "Удалить",
  removed: "«{name}» удалена.",
  unnamed: "без названия",
  waiting: "Ждёт своей очереди",
  progress: "{sent} из {size} · {speed}/с · осталось {left}",
  started: "{sent} из {size}",
  finishing: "Всё отправлено, дописывается конец MP3…",
  done: "Готово: {duration}, {size}",
  cancelled: "Отменено",
  lineBroken: "Связь прервалась на {share}. Отправка продолжится сама, когда связь появится.",
  unreachable: "Сервер недоступен. Есть ли сеть?",
  unreadable: "Файл больше не читается. Его изменили или переместили?",
  cancelUpload: "Отменить {name}",
  dismiss: "Убрать {name} из списка",
  retryUpload: "Отправить {name} снова",
  sendAs: "Отправить как «{name}»",
  ended: "Ваш токен больше не действует. Введите другой.",
  usage: "{count}, {duration}, {size}",
  usageOf: "{count}, {duration}, {size} из {quota}",
  recordings: {
    one: "{count} запись",
    few: "{count} записи",
    many: "{count} записей",
    other: "{count} записи",
  },
};

const LANGUAGES = { en: ENGLISH, ru: RUSSIAN };
const wanted = navigator.languages.map((tag) => tag.slice(0, 2).toLowerCase());
export const language = wanted.find((tag) => tag in LANGUAGES) ?? "en";

const texts = LANGUAGES[language];
const plural = new Intl.PluralRules(language);
const numbers = new Intl.NumberFormat(language);
const dates = new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" });
const UNITS = ["byte", "kilobyte", "megabyte", "gigabyte", "terabyte"];

/** The text of this key, its {places} filled in; `count` chooses among plural forms. */
export function t(key, values = {}) {
  const found = texts[key];
  const form = typeof found === "string" ? found : found[plural.select(values.count)];
  const shown = (value) => (typeof value === "number" ? numbers.format(value) : value);
  return form.replace(/\{(\w+)\}/g, (_, name) => shown(values[name]));
}

/** A number of bytes with its unit, of 1000 each. */
export function size(bytes) {
  const step = Math.min(Math.floor(Math.log10(Math.max(bytes, 1)) / 3), UNITS.length - 1);
  const value = bytes / 1000 ** step;
  return new Intl.NumberFormat(language, {
    style: "unit",
    unit: UNITS[step],
    unitDisplay: step ? "short" : "narrow",
    maximumFractionDigits: step && value < 100 ? 1 : 0,
  }).format(value);
}

/** Seconds as h:mm:ss or m:ss. */
export function clock(seconds) {
  const whole = Math.floor(seconds);
  const parts = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const [head, ...tail] = parts[0] ? parts : parts.slice(1);
  return [head, ...tail.map((part) => String(part).padStart(2, "0"))].join(":");
}

/** A part of a whole, 0 to 1, in percent. */
export function share(part) {
  return new Intl.NumberFormat(language, { style: "percent" }).format(part);
}

/** When it was made, as people here write it. */
export function date(iso) {
  return dates.format(new Date(iso));
}

/** Fills in whatever in the document names a text. */
export function translate() {
  document.documentElement.lang = language;
  const roots = [document, ...[...document.querySelectorAll("template")].map((each) => each.content)];
  for (const root of roots) {
    for (const each of root.querySelectorAll("[data-t]")) each.textContent = t(each.dataset.t);
    for (const each of root.querySelectorAll("[data-t-label]"))
      each.setAttribute("aria-label", t(each.dataset.tLabel));
    for (const each of root.querySelectorAll("[data-t-placeholder]"))
      each.placeholder = t(each.dataset.tPlaceholder);
  }
}
