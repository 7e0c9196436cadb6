// The form of a new job, made from the task's JSON Schema. A field that is left as it is, is not sent.

import { at, element } from "./dom.js";
import { Problem } from "./api.js";

const fields = new Map();

function resolve(schema, root) {
  if (schema.$ref) {
    const target = schema.$ref.split("/").slice(1).reduce((node, part) => node && node[part], root);
    return { ...resolve(target || {}, root), ...schema, $ref: undefined };
  }
  const variants = (schema.anyOf || schema.oneOf || schema.allOf || []).filter((one) => one.type !== "null");
  if (variants.length === 1) return { ...resolve(variants[0], root), ...schema, anyOf: undefined, oneOf: undefined, allOf: undefined };
  return schema;
}

function control(schema) {
  const preset = schema.default;
  const placeholder = preset === undefined || preset === null ? "" : typeof preset === "string" ? preset : JSON.stringify(preset);
  const json = () => element("textarea", { rows: 2, placeholder, spellcheck: false });
  if (schema.enum || schema.const !== undefined) {
    const values = schema.enum || [schema.const];
    const options = values.map((value) => element("option", { value: JSON.stringify(value), textContent: String(value), selected: value === preset }));
    if (preset === undefined) options.unshift(element("option", { value: "", textContent: "" }));
    return [element("select", {}, ...options), (input) => (input.value === "" || input.value === JSON.stringify(preset) ? undefined : JSON.parse(input.value))];
  }
  switch (schema.type) {
    case "boolean":
      return [element("input", { type: "checkbox", checked: preset === true }), (input) => (input.checked === (preset === true) ? undefined : input.checked)];
    case "integer":
    case "number": {
      const input = element("input", { type: "number", placeholder, step: schema.type === "integer" ? "1" : "any" });
      if (schema.minimum !== undefined) input.min = schema.minimum;
      if (schema.maximum !== undefined) input.max = schema.maximum;
      return [input, () => (input.value === "" ? undefined : Number(input.value))];
    }
    case "string": {
      const input = schema.maxLength > 200 ? element("textarea", { rows: 2, placeholder }) : element("input", { type: "text", placeholder });
      if (schema.maxLength) input.maxLength = schema.maxLength;
      return [input, () => (input.value === "" ? undefined : input.value)];
    }
    default:
      return [json(), (input) => (input.value.trim() === "" ? undefined : JSON.parse(input.value))];
  }
}

export function makeFields(task) {
  fields.clear();
  const root = task.params_schema;
  const required = new Set(root.required || []);
  const made = Object.entries(root.properties || {}).map(([name, raw], position) => {
    const schema = resolve(raw, root);
    const [input, value] = control(schema);
    input.id = `field-${position}`;
    const isCheck = input.type === "checkbox";
    const needed = required.has(name);
    input.required = needed && !isCheck;
    const star = needed ? element("span", { className: "required", textContent: " *", ariaHidden: "true" }) : null;
    const label = element("label", { htmlFor: input.id, className: isCheck ? "check" : "" });
    label.append(...(isCheck ? [input, name] : [name]), ...(star ? [star] : []));
    const hint = element("p", { id: `${input.id}-hint`, className: "hint", textContent: schema.description || (input.tagName === "TEXTAREA" && schema.type !== "string" ? "As JSON." : "") });
    const wrong = element("p", { id: `${input.id}-wrong`, className: "wrong" });
    input.setAttribute("aria-describedby", `${hint.id} ${wrong.id}`);
    fields.set(name, { input, wrong, read: () => value(input) });
    return element("div", { className: "field" }, label, isCheck ? null : input, hint, wrong);
  });
  at("fields").replaceChildren(...made);
  at("task-description").textContent = task.description;
  at("queue").placeholder = task.queue;
  at("raw").value = "";
}

export function readParams() {
  if (at("raw").value.trim()) {
    try {
      return JSON.parse(at("raw").value);
    } catch (error) {
      throw new Problem({ detail: `The params are no JSON: ${error.message}` });
    }
  }
  const params = {};
  for (const [name, field] of fields) {
    try {
      const value = field.read();
      if (value !== undefined) params[name] = value;
    } catch (error) {
      throw new Problem({ detail: "The params do not fit.", errors: [{ field: `/params/${name}`, message: `is no JSON: ${error.message}` }] });
    }
  }
  return params;
}

export function markFields(errors) {
  for (const [name, field] of fields) {
    const mine = errors.filter((one) => String(one.field || "").split("/")[2] === name.replaceAll("~", "~0").replaceAll("/", "~1"));
    field.wrong.textContent = mine.map((one) => one.message).join(" ");
    field.input.toggleAttribute("aria-invalid", mine.length > 0);
    if (mine.length) field.input.setAttribute("aria-invalid", "true");
  }
  const first = [...fields.values()].find((field) => field.wrong.textContent);
  if (first) first.input.focus();
}
