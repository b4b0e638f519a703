// Reads OTLP JSON by the tables of `schema` and normalizes it: drops unknown fields, lowercases ids
// and turns 64-bit numbers into text. Refuses values of a wrong type.

import { MAX_DEPTH, type ExportRequest, type Fields, MAX_VALUES, Malformed, type Value } from "./message.ts";
import { double } from "./protobuf.ts";
import { type Field, type Message, exportRequest } from "./schema.ts";

/** Reads a whole request; throws `Malformed`. */
export function readJsonRequest(body: Buffer): ExportRequest {
  let parsed: unknown;
  try {
    parsed = JSON.parse(body.toString("utf8"));
  } catch {
    throw new Malformed("it is not JSON");
  }
  return new Reader().message(parsed, exportRequest, 0);
}

class Reader {
  private values = 0;

  message(value: unknown, type: Message, depth: number): Fields {
    if (depth > MAX_DEPTH) throw new Malformed(`it is nested deeper than ${MAX_DEPTH} messages`);
    if (value === null || typeof value !== "object" || Array.isArray(value)) throw new Malformed(`${type.name} is not an object`);
    const fields: Fields = {};
    for (const [name, member] of Object.entries(value)) {
      const field = type.byName.get(name);
      // Protobuf's JSON mapping may write an unset field as `null`.
      if (field === undefined || member === null) continue;
      if (!field.repeated) {
        fields[name] = this.value(member, field, depth);
      } else if (Array.isArray(member)) {
        fields[name] = member.map((one: unknown) => this.value(one, field, depth));
      } else {
        throw new Malformed(`${type.name}.${name} is not a list`);
      }
    }
    return fields;
  }

  private value(value: unknown, field: Field, depth: number): Value {
    if (field.message === undefined) return plain(value, field);
    this.values += 1;
    if (this.values > MAX_VALUES) throw new Malformed(`it has more than ${MAX_VALUES} values`);
    return this.message(value, field.message, depth + 1);
  }
}

function plain(value: unknown, { name, kind }: Field): Value {
  switch (kind) {
    case "string":
      if (typeof value === "string") return value;
      break;
    case "bool":
      if (typeof value === "boolean") return value;
      break;
    case "uint32":
    case "fixed32":
      if (isInteger(value) && Number(value) >= 0 && Number(value) <= 0xffff_ffff) return Number(value);
      break;
    case "fixed64":
      if (isInteger(value) && BigInt(value) >= 0n) return BigInt.asUintN(64, BigInt(value)).toString();
      break;
    case "int64":
      if (isInteger(value)) return BigInt.asIntN(64, BigInt(value)).toString();
      break;
    case "double":
      if (typeof value === "number" || (typeof value === "string" && /^(NaN|-?Infinity|-?\d+(\.\d+)?(e[+-]?\d+)?)$/i.test(value))) {
        return double(Number(value));
      }
      break;
    case "id":
      if (typeof value === "string" && /^([0-9a-f]{16}|[0-9a-f]{32})?$/i.test(value)) return value.toLowerCase();
      break;
    case "bytes":
      if (typeof value === "string") return value;
      break;
    case "message":
      break;
  }
  throw new Malformed(`${name} has the wrong type`);
}

/** Integers are JSON numbers or text. 20 digits are enough for 64 bits. */
function isInteger(value: unknown): value is number | string {
  return Number.isInteger(value) || (typeof value === "string" && /^-?\d{1,20}$/.test(value));
}
