/** Who answered, and how long each step took. */

import { h } from "./dom.js";

function ms(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** answer: {members, steps, totalMs}; members: [{slot, name, family, licence}]. */
export function timesLine({ members, steps, totalMs }) {
  const total = h("span", { class: "times-total" }, `Answered in ${ms(totalMs)}`);
  const parts = steps.map((step) => h("span", { class: "time" }, `${step.name} `, h("b", {}, ms(step.ms))));
  const who = members.map(({ slot, name, family, licence }) =>
    h("span", { class: "member", title: [family, licence].filter(Boolean).join(", ") }, `${slot} `, h("b", {}, name)));
  return h("div", { class: "times" },
    h("div", { class: "times-row" }, total, parts),
    who.length > 0 && h("div", { class: "times-row" }, who));
}
