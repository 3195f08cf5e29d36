// Shows /openapi.json: a section for each route, with its parameters and an example to send.

const JSON_TYPE = "application/json";
const LONGEST = 60;

function element(name, text = "", children = []) {
  const made = document.createElement(name);
  made.textContent = text;
  made.append(...children);
  return made;
}

function typeOf(schema) {
  if (schema.anyOf) {
    const kinds = schema.anyOf.map(typeOf).filter((kind) => kind !== "null");
    return [...new Set(kinds)].join(" or ");
  }
  if (schema.enum) return schema.enum.map((value) => JSON.stringify(value)).join(" or ");
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {})}`;
  return schema.type ?? "any";
}

function parametersOf(operation) {
  const body = operation.requestBody?.content?.[JSON_TYPE]?.schema?.properties ?? {};
  const inBody = Object.entries(body).map(([name, schema]) => [name, schema, schema.description]);
  const others = (operation.parameters ?? []).map((one) => [
    `${one.name} (${one.in})`, one.schema, one.description ?? one.schema.description,
  ]);
  return [...inBody, ...others];
}

function table(rows) {
  const lines = rows.map(([name, schema, text]) =>
    element("tr", "", [
      element("td", "", [element("code", name)]), element("td", typeOf(schema)), element("td", text ?? ""),
    ]));
  return element("table", "", [element("tbody", "", lines)]);
}

// A picture in base64 is for machines: its beginning is enough for people.
function shortened(key, value) {
  return typeof value === "string" && value.length > LONGEST ? `${value.slice(0, LONGEST)}…` : value;
}

function exampleOf(path, example) {
  const button = element("button", "Send it");
  const answer = element("pre");
  answer.hidden = true;
  button.type = "button";
  button.addEventListener("click", async () => {
    answer.hidden = false;
    answer.textContent = "…";
    const options = { method: "POST", headers: { "Content-Type": JSON_TYPE }, body: JSON.stringify(example) };
    try {
      const response = await fetch(path, options);
      answer.textContent = `${response.status}\n${JSON.stringify(await response.json(), shortened, 1)}`;
    } catch (error) {
      answer.textContent = String(error);
    }
  });
  const shown = element("pre", JSON.stringify(example, shortened, 1));
  return element("details", "", [element("summary", "Example"), shown, button, answer]);
}

function section(path, method, operation) {
  const heading = element("h2", "", [element("b", method.toUpperCase()), ` ${path}`]);
  const made = element("section", "", [heading, element("p", operation.summary ?? "")]);
  const rows = parametersOf(operation);
  if (rows.length) made.append(table(rows));
  const example = operation.requestBody?.content?.[JSON_TYPE]?.example;
  if (example) made.append(exampleOf(path, example));
  return made;
}

const place = document.getElementById("routes");
try {
  const described = await (await fetch("/openapi.json")).json();
  const sections = Object.entries(described.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, operation]) => section(path, method, operation)));
  place.replaceChildren(...sections);
} catch (error) {
  place.textContent = `The description could not be read: ${error}`;
}
