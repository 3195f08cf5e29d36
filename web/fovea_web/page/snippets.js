/** The calls that a program would make for what is on the screen, in Python and for curl. */

import { keys } from "./api.js";
import { pathOf } from "./deployment.js";

const INDENT = "    ";

/** A value in Python's notation. */
export function toPython(value) {
  if (value === null) return "None";
  if (value === true) return "True";
  if (value === false) return "False";
  if (Array.isArray(value)) return `[${value.map(toPython).join(", ")}]`;
  return JSON.stringify(value);
}

function pythonCall({ kind, parameters }, name) {
  const parts = [toPython(name), ...Object.entries(parameters).map(([key, value]) => `${key}=${toPython(value)}`)];
  return `client.${kind}(${parts.join(", ")})`;
}

/** calls: [{kind, parameters}] for one picture. */
export function pythonOf(calls, name) {
  const lines = calls.map((call) => `${INDENT}found = ${pythonCall(call, name)}\n${INDENT}print(found.to_dict())`);
  return `from fovea_client import Client\n\nwith Client("localhost:8001") as client:\n${lines.join("\n")}\n`;
}

/** The fields of `fovea_search.Query` that have other names in the gateway. */
function toQuery({ not, pictures, ...rest }) {
  return { ...rest, ...(not && { negative: not }), ...(pictures && { kind: "picture" }) };
}

/** The search in Python; name: of the example picture, or null. */
export function pythonOfSearch(parameters, name) {
  const parts = Object.entries(toQuery(parameters)).map(([key, value]) => `${key}=${toPython(value)}`);
  if (name) parts.unshift(`image=${toPython(name)}`);
  return [
    "from fovea_client import Client",
    "from fovea_search import Index",
    "",
    'with Index.open("./index", client=Client("localhost:8001")) as index:',
    `${INDENT}for find in index.search(${parts.join(", ")}):`,
    `${INDENT}${INDENT}print(find.score, find.path, find.box)`,
    "",
  ].join("\n");
}

/** A word for a shell's command line. */
export const quote = (text) => (/^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`);

function curl(path, fields) {
  const parts = [`curl ${quote(new URL(path, document.baseURI).href)}`];
  if (keys.get()) parts.push('-H "Authorization: Bearer $FOVEA_KEY"');
  return `${[...parts, ...fields].join(" \\\n  ")}\n`;
}

/** A form's fields; --form-string, because a label may begin with '@'. */
function fieldsOf(parameters, name) {
  const picture = name ? [`-F ${quote(`image=@${name}`)}`] : [];
  const others = Object.entries(parameters).map(([key, value]) => {
    const text = typeof value === "object" ? JSON.stringify(value) : String(value);
    return `--form-string ${quote(`${key}=${text}`)}`;
  });
  return [...picture, ...others];
}

export function curlOf(calls, name) {
  return calls.map(({ kind, parameters }) => curl(pathOf(kind), fieldsOf(parameters, name))).join("\n");
}

/** A search with an example picture is a form, one without is JSON. */
export function curlOfSearch(parameters, name) {
  if (name) return curl("v1/search", fieldsOf(parameters, name));
  return curl("v1/search", [`--json ${quote(JSON.stringify(parameters))}`]);
}
