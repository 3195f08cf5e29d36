/** Small helpers for building elements without a framework. */

const SVG = "http://www.w3.org/2000/svg";

/** The element with an id of index.html. */
export const byId = (id) => document.getElementById(id);

/**
 * An element: h("button", { class: "quiet", onclick: f, "aria-label": "Undo" }, icon("undo"), "Undo").
 * Properties that are functions become listeners; false and null omit an attribute.
 */
export function h(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else if (name === "value" || name === "checked" || name === "disabled") element[name] = value;
    else if (value !== false && value != null) element.setAttribute(name, value === true ? "" : value);
  }
  return fill(element, ...children);
}

/** Replaces an element's content by children, lists of them and texts; null and false are left out. */
export function fill(element, ...children) {
  element.replaceChildren(...children.flat(Infinity).filter((child) => child != null && child !== false));
  return element;
}

/** An icon of icons.svg; it has no name for screen readers, so its button needs one. */
export function icon(name) {
  const svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("class", "icon");
  svg.setAttribute("aria-hidden", "true");
  const use = document.createElementNS(SVG, "use");
  use.setAttribute("href", `static/icons.svg#${name}`);
  svg.append(use);
  return svg;
}

/** Announces a sentence to screen readers. */
export function say(sentence) {
  byId("said").textContent = sentence;
}

/** 0.934 as "93%". */
export const percent = (share) => `${Math.round(100 * share)}%`;

/** A bar of a share within [0, 1], in a colour of CSS. */
export function bar(share, colour) {
  const fill = h("span", { class: "bar-fill" });
  fill.style.width = `${100 * Math.min(1, Math.max(0, share))}%`;
  if (colour) fill.style.background = colour;
  return h("span", { class: "bar" }, fill);
}

/** A group with one choice: options are [value, text], `choose` gets the value. */
export function segmented(label, options, chosen, choose) {
  const buttons = options.map(([value, text]) =>
    h("button", {
      type: "button", role: "radio", "aria-checked": String(value === chosen),
      tabindex: value === chosen ? "0" : "-1", "data-value": value, onclick: () => set(value),
    }, text));
  const group = h("div", { class: "segmented", role: "radiogroup", "aria-label": label }, buttons);
  function mark(value) {
    for (const button of buttons) {
      button.setAttribute("aria-checked", String(button.dataset.value === value));
      button.tabIndex = button.dataset.value === value ? 0 : -1;
    }
  }
  function set(value) {
    mark(value);
    choose(value);
  }
  group.addEventListener("keydown", (event) => roveFocus(event, buttons));
  group.mark = mark;
  return group;
}

/** Arrow keys move between buttons, one of which is in the tab order, and press the next. */
export function roveFocus(event, buttons) {
  const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
  if (!step) return;
  event.preventDefault();
  const from = buttons.indexOf(document.activeElement);
  const next = buttons[(from + step + buttons.length) % buttons.length];
  next.focus();
  next.click();
}
