// Reads OTLP protobuf by the tables of `schema`. Skips fields with an unknown number or another
// wire type, as protobuf requires. Refuses bodies that break the format, and never reads beyond
// the body's end.

import { MAX_DEPTH, type ExportRequest, type Fields, MAX_VALUES, Malformed, type Value } from "./message.ts";
import { type Field, type Kind, type Message, exportRequest, span } from "./schema.ts";

const VARINT = 0;
const FIXED64 = 1;
const LENGTH = 2;
const START_GROUP = 3;
const END_GROUP = 4;
const FIXED32 = 5;

const WIRE_TYPES: Readonly<Record<Kind, number>> = {
  string: LENGTH,
  id: LENGTH,
  bytes: LENGTH,
  message: LENGTH,
  bool: VARINT,
  uint32: VARINT,
  int64: VARINT,
  fixed64: FIXED64,
  double: FIXED64,
  fixed32: FIXED32,
};

/** Reads a whole request; throws `Malformed`. */
export function readRequest(body: Buffer): ExportRequest {
  return new Reader(body).message(exportRequest, body.length, 0);
}

/** Validates a request without building it and returns its number of spans; throws `Malformed`. */
export function scanRequest(body: Buffer): number {
  const reader = new Reader(body);
  reader.scan(exportRequest, body.length, 0);
  return reader.spans;
}

class Reader {
  private readonly body: Buffer;
  private at = 0;
  private values = 0;
  /** Spans scanned so far. */
  spans = 0;

  constructor(body: Buffer) {
    this.body = body;
  }

  message(type: Message, end: number, depth: number): Fields {
    const fields: Fields = {};
    this.walk(type, end, depth, (field, stop) => {
      const value = field.message === undefined ? this.plain(field.kind, stop) : this.message(field.message, stop, depth + 1);
      if (!field.repeated) {
        fields[field.name] = value;
        return;
      }
      const list = fields[field.name] as Value[] | undefined;
      if (list === undefined) fields[field.name] = [value];
      else list.push(value);
    });
    return fields;
  }

  scan(type: Message, end: number, depth: number): void {
    if (type === span) this.spans += 1;
    this.walk(type, end, depth, (field, stop) => {
      if (field.message !== undefined) this.scan(field.message, stop, depth + 1);
      else if (field.kind === "id") this.plain("id", stop);
      else this.at = stop;
    });
  }

  /** Calls `known` at each value of a known field; `stop` is the offset where the value ends. */
  private walk(type: Message, end: number, depth: number, known: (field: Field, stop: number) => void): void {
    if (depth > MAX_DEPTH) throw new Malformed(`it is nested deeper than ${MAX_DEPTH} messages`);
    while (this.at < end) {
      const tag = this.varint(end);
      if (tag > 0xffff_ffff) throw new Malformed("a field's number is too large");
      const number = Math.floor(tag / 8);
      const wire = tag % 8;
      if (number === 0) throw new Malformed("a field has the number 0");
      const field = type.byNumber.get(number);
      if (field === undefined || WIRE_TYPES[field.kind] !== wire) {
        this.skip(wire, number, end, depth);
        continue;
      }
      if (field.kind === "message" || field.repeated) {
        this.values += 1;
        if (this.values > MAX_VALUES) throw new Malformed(`it has more than ${MAX_VALUES} values`);
      }
      const stop = wire === LENGTH ? this.length(end) : wire === FIXED64 ? this.ahead(8, end) : wire === FIXED32 ? this.ahead(4, end) : this.afterVarint(end);
      known(field, stop);
      this.at = stop;
    }
  }

  private plain(kind: Kind, stop: number): Value {
    const { body, at } = this;
    switch (kind) {
      case "string":
        return body.toString("utf8", at, stop);
      case "id":
        return id(body, at, stop);
      case "bytes":
        return body.toString("base64", at, stop);
      case "bool":
        return this.varint(stop) !== 0;
      case "uint32":
        return Number(BigInt.asUintN(32, this.varint64(stop)));
      case "int64":
        return BigInt.asIntN(64, this.varint64(stop)).toString();
      case "fixed32":
        return body.readUInt32LE(at);
      case "fixed64":
        return body.readBigUInt64LE(at).toString();
      case "double":
        return double(body.readDoubleLE(at));
      case "message":
        throw new Malformed("a message is not a plain value");
    }
  }

  /** For tags, lengths and booleans. Exact below 2^53; larger tags and lengths are refused, and a larger boolean is still true. */
  private varint(end: number): number {
    let value = 0;
    let factor = 1;
    for (let bytes = 0; bytes < 10; bytes += 1) {
      const byte = this.byte(end);
      value += (byte & 0x7f) * factor;
      if (byte < 0x80) return value;
      factor *= 0x80;
    }
    throw new Malformed("a number is longer than 10 bytes");
  }

  private varint64(end: number): bigint {
    let value = 0n;
    for (let shift = 0n; shift < 70n; shift += 7n) {
      const byte = this.byte(end);
      value |= BigInt(byte & 0x7f) << shift;
      if (byte < 0x80) return BigInt.asUintN(64, value);
    }
    throw new Malformed("a number is longer than 10 bytes");
  }

  private byte(end: number): number {
    const byte = this.at < end ? this.body[this.at] : undefined;
    if (byte === undefined) throw new Malformed("it ends in the middle of a number");
    this.at += 1;
    return byte;
  }

  private length(end: number): number {
    const length = this.varint(end);
    if (length > end - this.at) throw new Malformed("a length reaches beyond the end");
    return this.at + length;
  }

  private ahead(bytes: number, end: number): number {
    if (this.at + bytes > end) throw new Malformed("it ends in the middle of a number");
    return this.at + bytes;
  }

  private afterVarint(end: number): number {
    const begun = this.at;
    this.varint(end);
    const stop = this.at;
    this.at = begun;
    return stop;
  }

  private skip(wire: number, number: number, end: number, depth: number): void {
    if (wire === VARINT) this.varint(end);
    else if (wire === FIXED64) this.at = this.ahead(8, end);
    else if (wire === LENGTH) this.at = this.length(end);
    else if (wire === FIXED32) this.at = this.ahead(4, end);
    else if (wire === START_GROUP) this.skipGroup(number, end, depth + 1);
    else throw new Malformed(`a field has the wire type ${wire}`);
  }

  private skipGroup(number: number, end: number, depth: number): void {
    if (depth > MAX_DEPTH) throw new Malformed(`it is nested deeper than ${MAX_DEPTH} messages`);
    while (this.at < end) {
      const tag = this.varint(end);
      const wire = tag % 8;
      if (wire === END_GROUP) {
        if (Math.floor(tag / 8) !== number) throw new Malformed("a group ends that did not begin");
        return;
      }
      this.skip(wire, Math.floor(tag / 8), end, depth);
    }
    throw new Malformed("a group does not end");
  }
}

function id(body: Buffer, at: number, stop: number): string {
  const length = stop - at;
  // Root spans have an empty or an all-zero parent id.
  if (length !== 0 && length !== 8 && length !== 16) throw new Malformed(`an id has ${length} bytes`);
  return body.toString("hex", at, stop);
}

/** Protobuf's JSON mapping writes numbers that are not finite as text. */
export function double(value: number): number | string {
  return Number.isFinite(value) ? value : String(value);
}
