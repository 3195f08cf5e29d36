/** Starts the page: asks what the deployment offers, and shows it. */

import { getBlob, getJson } from "./api.js";
import { App } from "./app.js";
import { Deployment } from "./deployment.js";
import { byId, fill, h, icon, roveFocus, say } from "./dom.js";
import { Everything } from "./everything.js";
import { takePictures, toPicture } from "./intake.js";
import { bindKeys } from "./keyboard.js";
import { Points } from "./points.js";
import { problemCard } from "./problems.js";
import { Search } from "./search.js";
import { openDialog } from "./take_away.js";
import { Words } from "./words.js";

const MODES = [Words, Points, Everything, Search];

async function start() {
  bindTheme();
  const panel = byId("panel");
  try {
    const app = new App(new Deployment(await getJson("v1/deployment")));
    build(app);
  } catch (error) {
    console.warn(error);
    panel.replaceChildren(problemCard(error, start));
  }
}

function build(app) {
  const modes = MODES.filter((mode) => mode.offered(app.deployment)).map((mode) => new mode(app));
  const tabs = modes.map((mode) => tab(app, modes, mode));
  byId("tabs").replaceChildren(...tabs);
  byId("tabs").hidden = false;
  byId("tabs").addEventListener("keydown", (event) => roveFocus(event, tabs));
  bindKeys(app, modes.find((mode) => mode instanceof Points));
  const open = (file, name, hints) => openPicture(app, modes, file, name, hints);
  app.openIn = async (picture, name) => {
    byId(`tab-${name}`)?.click();
    await open(picture.blob, picture.name);
  };
  takePictures((file) => open(file));
  showModels(app.deployment);
  showSamples(open);
  const named = modes.findIndex((mode) => mode.constructor.title.toLowerCase() === location.hash.slice(1));
  enter(app, modes, tabs, modes[Math.max(0, named)]);
}

function tab(app, modes, mode) {
  const { title } = mode.constructor;
  return h("button", {
    type: "button", role: "tab", class: "tab", id: `tab-${title.toLowerCase()}`, "aria-controls": "panel",
    onclick: (event) => enter(app, modes, [...event.currentTarget.parentElement.children], mode),
  }, title);
}

function enter(app, modes, tabs, mode) {
  if (app.mode === mode) return;
  app.mode?.leave();
  app.unlink();
  app.mode = mode;
  tabs.forEach((one, place) => {
    one.setAttribute("aria-selected", String(modes[place] === mode));
    one.tabIndex = modes[place] === mode ? 0 : -1;
  });
  const name = mode.constructor.title.toLowerCase();
  byId("panel").setAttribute("aria-labelledby", `tab-${name}`);
  byId("main").dataset.mode = name;
  byId("panel").replaceChildren(mode.panel);
  history.replaceState(null, "", `#${name}`);
  mode.enter();
}

async function openPicture(app, modes, file, name, hints = []) {
  try {
    app.picture = { ...(await app.busy(toPicture(file, name))), hints };
  } catch (error) {
    const card = problemCard(error, null);
    byId("caption").replaceChildren(card);
    byId("caption").hidden = false;
    return;
  }
  showPicture(app);
  for (const mode of modes) mode.pictureChanged();
}

function showPicture(app) {
  const { picture, stage } = app;
  byId("empty").hidden = true;
  stage.canvas.hidden = false;
  stage.canvas.setAttribute("aria-label", `${picture.name}, ${picture.width} by ${picture.height} pixels`);
  byId("card").style.setProperty("--ratio", picture.width / picture.height);
  stage.setPicture(picture);
  const { scaledFrom } = picture;
  fill(byId("caption"),
    h("span", { class: "caption-name" }, picture.name),
    h("span", { class: "fine" }, `${picture.width} × ${picture.height}`),
    scaledFrom && h("span", { class: "fine" }, `scaled down from ${scaledFrom.join(" × ")} to be quick: answers are for the smaller one`),
    h("button", { class: "link", type: "button", onclick: () => byId("choose").click() }, "another picture"));
  byId("caption").hidden = false;
  byId("main").classList.add("filled");
  say(`${picture.name} is open`);
}

/** The gateway's samples, if it has any: [{name, url, labels, description}]. */
async function showSamples(open) {
  let samples = [];
  try {
    ({ samples } = await getJson("v1/samples"));
  } catch (error) {
    console.warn(error);
  }
  if (!samples.length) return;
  const strip = byId("samples");
  const take = async (sample, button) => {
    for (const other of strip.children) other.classList.toggle("current", other === button);
    const hints = [sample.labels?.join(", "), sample.description].filter(Boolean);
    await open(await getBlob(toRelative(sample.url)), sample.name, hints);
  };
  strip.replaceChildren(...samples.map((sample) => {
    const button = h("button", { class: "sample", type: "button", "aria-label": `Open ${sample.name}`, onclick: () => take(sample, button) },
      h("img", { src: toRelative(sample.url), alt: "", loading: "lazy" }));
    return button;
  }));
  strip.hidden = false;
}

/** Works behind a prefix, too: the gateway's addresses begin at its root. */
const toRelative = (url) => url.replace(/^\//, "");

/** The models behind the verbs. */
function showModels(deployment) {
  const button = byId("models");
  const count = deployment.members.size;
  const text = count === 1 ? "1 model" : `${count} models`;
  button.replaceChildren(icon("chip"), h("span", { class: "wide-only" }, text));
  button.setAttribute("aria-label", `${text} of this server`);
  button.hidden = false;
  button.addEventListener("click", () => openDialog("Models of this server", h("div", { class: "stack" },
    h("div", { class: "models" }, [...deployment.members.values()].map(({ name, family, role, licence }) =>
      h("div", { class: "model" }, h("b", {}, name), h("span", {}, role.replaceAll("_", " ")),
        h("span", { class: "fine" }, [family, licence || "licence unknown"].join(" · "))))),
    h("p", { class: "fine" }, "For programs: ", h("a", { href: "docs" }, "the interface and its examples"), "."))));
}

function bindTheme() {
  const button = byId("theme");
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const root = document.documentElement;
  const isDark = () => (root.dataset.theme ? root.dataset.theme === "dark" : dark.matches);
  const show = () => {
    button.replaceChildren(icon(isDark() ? "sun" : "moon"));
    button.setAttribute("aria-label", isDark() ? "Light colours" : "Dark colours");
  };
  button.onclick = () => {
    root.dataset.theme = isDark() ? "light" : "dark";
    localStorage.setItem("fovea-theme", root.dataset.theme);
    show();
  };
  dark.addEventListener("change", show);
  show();
}

start();
