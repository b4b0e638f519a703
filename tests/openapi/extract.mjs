// Extracts the operations that the App calls from GitHub's official OpenAPI description. Writes them
// as plain JSON Schemas, `$ref`s resolved, to target/openapi/github.json. Writes them as OpenAPI for
// Prism to target/openapi/prism.json.
//
// Two rules are stricter than GitHub's description:
// - A request object that lists properties accepts no others.
// - A completed check run needs a conclusion. GitHub documents that only in prose and in the PATCH
//   schema.

import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const here = dirname(fileURLToPath(import.meta.url));
const source = join(here, "../node_modules/@octokit/openapi/generated/api.github.com.json");
const target = join(here, "../../target/openapi/github.json");

const OPERATIONS = [
  "apps/get-authenticated",
  "apps/create-from-manifest",
  "apps/get-webhook-config-for-app",
  "apps/list-webhook-deliveries",
  "apps/list-installations",
  "apps/list-repos-accessible-to-installation",
  "apps/get-installation",
  "apps/create-installation-access-token",
  "apps/get-repo-installation",
  "repos/get",
  "apps/redeliver-webhook-delivery",
  "pulls/get",
  "pulls/list",
  "actions/get-workflow-run",
  "actions/get-workflow-run-attempt",
  "actions/list-jobs-for-workflow-run-attempt",
  "actions/list-repo-workflows",
  "actions/re-run-job-for-workflow-run",
  "actions/list-workflow-run-artifacts",
  "actions/download-artifact",
  "actions/list-workflow-runs",
  "actions/list-workflow-runs-for-repo",
  "repos/list-pull-requests-associated-with-commit",
  "checks/create",
  "checks/update",
  "checks/list-for-ref",
  "checks/list-annotations",
  "issues/list-comments",
  "issues/create-comment",
  "issues/update-comment",
  "repos/get-content",
  "rate-limit/get",
  "repos/get-collaborator-permission-level",
];

// Keywords to drop: prose, and keywords that JSON Schema does not need.
const DROPPED = new Set([
  "description", "example", "examples", "default", "deprecated", "discriminator", "externalDocs",
  "readOnly", "writeOnly", "xml", "title", "nullable",
]);

const description = JSON.parse(readFileSync(source, "utf8"));

function lookUp(ref) {
  return ref.slice(2).split("/").reduce((node, key) => node[key.replace(/~1/g, "/").replace(/~0/g, "~")], description);
}

function resolved(node, trail = []) {
  while (node?.$ref) {
    if (trail.includes(node.$ref)) return {}; // a cycle: accept any value below it
    trail = [...trail, node.$ref];
    node = lookUp(node.$ref);
  }
  return { node, trail };
}

/** An OpenAPI 3.0 schema as a JSON Schema; `closed` refuses fields that are not listed. */
function schema(input, closed, trail = []) {
  const { node, trail: path } = resolved(input, trail);
  if (node === undefined || typeof node !== "object") return node ?? {};
  const out = {};
  for (const [key, value] of Object.entries(node)) {
    if (DROPPED.has(key) || key.startsWith("x-")) continue;
    if (key === "properties") {
      out.properties = Object.fromEntries(
        Object.entries(value).map(([name, sub]) => [name, schema(sub, closed, path)]),
      );
    } else if (key === "items" || key === "not") {
      out[key] = schema(value, closed, path);
    } else if (key === "additionalProperties") {
      out[key] = typeof value === "object" ? schema(value, closed, path) : value;
    } else if (["allOf", "anyOf", "oneOf"].includes(key)) {
      // A branch may repeat some of its parent's fields. Only a branch whose parent has none is closed.
      out[key] = value.map((sub) => schema(sub, closed && node.properties === undefined && key !== "allOf", path));
    } else {
      out[key] = value;
    }
  }
  if (closed && out.properties !== undefined && out.additionalProperties === undefined) {
    out.additionalProperties = false;
  }
  return node.nullable ? orNull(out) : out;
}

function orNull(inner) {
  if (typeof inner.type === "string") {
    return { ...inner, type: [inner.type, "null"], ...(inner.enum ? { enum: [...new Set([...inner.enum, null])] } : {}) };
  }
  return { anyOf: [inner, { type: "null" }] };
}

const conclusionWhenCompleted = {
  if: { properties: { status: { const: "completed" } }, required: ["status"] },
  then: { required: ["conclusion"] },
};

function operation(path, method, entry, shared) {
  const parameters = [...(shared ?? []), ...(entry.parameters ?? [])].map((p) => resolved(p).node);
  const body = entry.requestBody && resolved(entry.requestBody).node;
  let request = body ? schema(body.content["application/json"].schema, true) : null;
  if (["checks/create", "checks/update"].includes(entry.operationId)) {
    request = { allOf: [request, conclusionWhenCompleted] };
  }
  const responses = {};
  for (const [status, given] of Object.entries(entry.responses)) {
    const content = resolved(given).node.content?.["application/json"];
    if (content === undefined || !/^2/.test(status)) continue;
    const examples = Object.fromEntries(
      Object.entries(content.examples ?? {}).map(([name, example]) => [name, resolved(example).node.value]),
    );
    responses[status] = { schema: schema(content.schema, false), examples };
  }
  return {
    id: entry.operationId,
    method: method.toUpperCase(),
    path,
    query: parameters.filter((p) => p.in === "query").map((p) => p.name),
    body_required: body?.required === true,
    request,
    responses,
  };
}

const operations = [];
for (const [path, item] of Object.entries(description.paths)) {
  for (const [method, entry] of Object.entries(item)) {
    if (OPERATIONS.includes(entry?.operationId)) operations.push(operation(path, method, entry, item.parameters));
  }
}
const missing = OPERATIONS.filter((id) => !operations.some((found) => found.id === id));
if (missing.length > 0) {
  console.error(`GitHub's description has no operation ${missing.join(", ")}`);
  process.exit(1);
}
// GitHub answers `application/json` to clients that accept its own media types. Prism answers 406
// unless the description lists these types.
const ACCEPTED = ["application/vnd.github+json", "application/vnd.github.v3+json"];

function forPrism() {
  const paths = {};
  for (const [path, item] of Object.entries(description.paths)) {
    for (const [method, entry] of Object.entries(item)) {
      if (!OPERATIONS.includes(entry?.operationId)) continue;
      const responses = Object.fromEntries(
        Object.entries(entry.responses).map(([status, given]) => {
          const response = { ...resolved(given).node };
          const json = response.content?.["application/json"];
          if (json) response.content = Object.fromEntries(["application/json", ...ACCEPTED].map((type) => [type, json]));
          return [status, response];
        }),
      );
      (paths[path] ??= item.parameters ? { parameters: item.parameters } : {})[method] = { ...entry, responses };
    }
  }
  const components = {};
  const wanted = [JSON.stringify(paths)];
  while (wanted.length > 0) {
    for (const [, kind, name] of wanted.pop().matchAll(/"\$ref":"#\/components\/([^/"]+)\/([^/"]+)"/g)) {
      if (components[kind]?.[name] !== undefined) continue;
      const part = description.components[kind][name];
      (components[kind] ??= {})[name] = part;
      wanted.push(JSON.stringify(part));
    }
  }
  return { openapi: description.openapi, info: description.info, servers: [{ url: "/" }], paths, components };
}

mkdirSync(dirname(target), { recursive: true });
writeFileSync(join(dirname(target), "prism.json"), JSON.stringify(forPrism()));
writeFileSync(target, JSON.stringify({ version: description.info.version, operations }));
console.log(`${operations.length} operations of GitHub's API description written`);
