/** The members that answered, and how long each step took. */

import { h } from "./dom.js";

function ms(value) {
  if (value >= 1000) return `${(value / 1000).toFixed(1)} s`;
  return `${value < 10 ? value.toFixed(1) : Math.round(value)} ms`;
}

/** Steps of the header Server-Timing, by the gateway's names. */
const NAMES = { read: "reading", call: "models", encode: "reply", fovea: "gateway" };
/** The gateway's own sum of them. */
const SUM = "fovea";

/** answer: {members, steps, totalMs}; members: [{slot, name, family, licence}]. */
export function timesLine({ members, steps, totalMs }) {
  const total = h("span", { class: "times-total" }, `Answered in ${ms(totalMs)}`);
  const sum = steps.find(({ name }) => name === SUM)?.ms ?? totalMs;
  const own = steps.length > 1 ? steps.filter(({ name }) => name !== SUM) : steps;
  const shown = [...own, { name: "network", ms: Math.max(0, totalMs - sum) }];
  const parts = shown.map((step) => h("span", { class: "time" }, `${NAMES[step.name] ?? step.name} `, h("b", {}, ms(step.ms))));
  const who = members.map(({ slot, name, family, licence }) =>
    h("span", { class: "member", title: [family, licence].filter(Boolean).join(", ") }, h("b", {}, name), ` ${slot}`));
  return h("div", { class: "times" },
    h("div", { class: "times-row" }, total, parts),
    who.length > 0 && h("div", { class: "times-row" }, who));
}
