// Renders /api/openapi.json. Everything is written as text, never as HTML; nothing is loaded from elsewhere.
"use strict";

const make = (name, text, ...children) => {
  const element = document.createElement(name);
  if (text) element.textContent = text;
  element.append(...children);
  return element;
};
const json = (value) => make("pre", typeof value === "string" ? value : JSON.stringify(value, null, 2));

// A schema with what it refers to written out, to a depth that can be read.
const resolved = (spec, schema, depth = 0) => {
  if (!schema || typeof schema !== "object") return schema;
  if (Array.isArray(schema)) return schema.map((one) => resolved(spec, one, depth));
  if (schema.$ref) {
    const name = schema.$ref.split("/").pop();
    return depth >= 3 ? name : resolved(spec, spec.components.schemas[name], depth + 1);
  }
  return Object.fromEntries(Object.entries(schema).map(([key, value]) => [key, resolved(spec, value, depth)]));
};

const parameters = (operation) => {
  const rows = operation.parameters.map((one) =>
    make("tr", "", make("td", "", make("code", one.name)), make("td", one.in), make("td", one.description || one.schema.enum?.join(", ") || one.schema.type)));
  return rows.length ? [make("h4", "Parameters"), make("table", "", ...rows)] : [];
};

const contents = (spec, content) =>
  Object.entries(content || {}).flatMap(([media, { schema, example }]) => [
    make("p", media),
    ...(example === undefined ? [] : [json(example)]),
    make("details", "", make("summary", "Schema"), json(resolved(spec, schema))),
  ]);

const body = (spec, operation) => {
  const answers = Object.entries(operation.responses).flatMap(([status, answer]) => [
    make("h4", `${status}: ${answer.description}`), ...contents(spec, answer.content)]);
  const taken = operation.requestBody ? [make("h4", "Body"), ...contents(spec, operation.requestBody.content)] : [];
  return make("section", "", make("p", operation.description), ...parameters(operation), ...taken, ...answers);
};

const show = (spec) => {
  const groups = new Map();
  for (const [path, methods] of Object.entries(spec.paths)) {
    for (const [method, operation] of Object.entries(methods)) {
      const entry = make("details", "", make("summary", "", make("b", method.toUpperCase()), make("code", path), operation.summary));
      entry.dataset.words = `${method} ${path} ${operation.summary}`.toLowerCase();
      entry.addEventListener("toggle", () => entry.append(body(spec, operation)), { once: true });
      const tag = operation.tags[0];
      if (!groups.has(tag)) groups.set(tag, make("article", "", make("h2", tag)));
      groups.get(tag).append(entry);
    }
  }
  document.getElementById("operations").replaceChildren(...groups.values());
};

document.getElementById("filter").addEventListener("input", ({ target }) => {
  const wanted = target.value.toLowerCase();
  for (const entry of document.querySelectorAll("article > details")) {
    entry.hidden = !entry.dataset.words.includes(wanted);
  }
});

fetch("/api/openapi.json").then((answer) => answer.json()).then(show).catch((error) => {
  document.getElementById("operations").textContent = `The description cannot be loaded: ${error.message}`;
});
