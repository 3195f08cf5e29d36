/** The server's problems in plain words, with advice for each. */

import { Problem, keys } from "./api.js";
import { h, icon } from "./dom.js";
import { Unreadable } from "./intake.js";

const WORDS = {
  "invalid-image": ["This picture cannot be read.", "Use a JPEG, PNG or WebP file that opens elsewhere."],
  "image-too-large": ["This picture is too large for the server.", "Use a smaller one."],
  "invalid-text": ["These words cannot be asked.", "Use a few short labels, with commas between them, or one sentence."],
  "invalid-prompt": ["This prompt does not fit the picture.", "Undo it, or point at another place."],
  "invalid-filter": ["This filter does not fit the index.", "Compare the names of its columns, or empty it."],
  "invalid-threshold": ["This threshold is out of range.", "Use a number from 0 to 1."],
  "unknown-verb": ["The server does not offer this any more.", "Load the page again to see what it offers."],
  "other-members": ["The index was made by other models.", "Search with the server that made it, or index again."],
  "invalid-store": ["The index cannot be read.", "Whoever runs this server finds the reason in its log."],
  "store-failed": ["The index cannot be read just now.", "Try again in a moment."],
  "unknown-host": ["This server is not known by that name.", "Whoever runs it can allow the name: fovea web --allow-host."],
  overloaded: ["The server is busy.", "Wait a moment, then try again."],
  unavailable: ["The models are not ready.", "They may be starting. Try again in a few seconds."],
  "deadline-exceeded": ["That took too long.", "Try again, or with a smaller picture."],
  unreachable: ["The server cannot be reached.", "Check that it runs and that you are connected, then try again."],
  "server-error": ["The server failed at this.", "Try again. If it stays so, its log has the reason."],
};
const BY_STATUS = {
  400: ["The server could not read the request.", "Load the page again, then try again."],
  401: ["This server asks for a key.", "Enter yours below. It stays in this tab."],
  403: ["This key may not do that.", "Enter another one below."],
  404: ["The server does not have this.", "Load the page again to see what it offers."],
  405: ["The server does not take this.", "Load the page again, then try again."],
  406: ["The server does not take this.", "Load the page again, then try again."],
  408: ["The picture took too long to send.", "Try again, or with a smaller picture."],
  413: WORDS["image-too-large"],
  415: WORDS["invalid-image"],
  422: ["The server cannot answer this.", "Change the question and try again."],
  429: ["Too many requests at once.", "Wait a moment, then try again."],
  502: WORDS["server-error"],
  503: WORDS.unavailable,
  504: WORDS["deadline-exceeded"],
};
const LOCKED = [401, 403];

/** {title, advice, detail} of any thrown value. */
export function explain(error) {
  if (error instanceof Unreadable) {
    return { title: `${error.message} is no picture that can be shown.`, advice: WORDS["invalid-image"][1], detail: "" };
  }
  if (!(error instanceof Problem)) {
    return { title: "The page failed at this.", advice: "Load it again.", detail: String(error) };
  }
  const [title, advice] = WORDS[error.kind] ?? BY_STATUS[error.status] ?? WORDS["server-error"];
  const wait = error.retryAfter ? ` The server says: in ${error.retryAfter} s.` : "";
  return { title, advice: advice + wait, detail: error.detail };
}

/** A card that explains an error; its button calls `retry`. */
export function problemCard(error, retry) {
  const { title, advice, detail } = explain(error);
  return h("div", { class: "problem", role: "alert" },
    icon("alert"),
    h("div", {},
      h("p", { class: "problem-title" }, title),
      h("p", {}, advice),
      detail && h("p", { class: "fine" }, detail),
      LOCKED.includes(error.status)
        ? keyForm(retry)
        : retry && h("button", { class: "plain small", type: "button", onclick: retry }, "Try again")));
}

function keyForm(retry) {
  const field = h("input", { type: "password", autocomplete: "off", "aria-label": "API key", placeholder: "API key" });
  const send = (event) => {
    event.preventDefault();
    keys.set(field.value.trim());
    retry();
  };
  return h("form", { class: "row", onsubmit: send }, field, h("button", { class: "plain", type: "submit" }, "Use key"));
}
