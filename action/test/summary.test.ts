// The step summary and log lines: own times, escaping of names, sentences.

import { describe, expect, test, vi } from "vitest";

import type { Seen } from "../src/archive/spans.ts";
import { code, visible } from "../src/markdown.ts";
import { longestParts } from "../src/own_time.ts";
import { type JobResult, duration, logLines, withoutKnownNotes, summary, acceptedText } from "../src/summary.ts";

const S = 1_000_000_000n;
const seen = (id: string, parent: string, start: number, end: number, more: Partial<Seen> = {}): Seen => ({
  id,
  parent,
  name: id,
  service: "",
  startNs: BigInt(start) * S,
  endNs: BigInt(end) * S,
  ...more,
});
const own = (spans: readonly Seen[]): [string, number][] => longestParts(spans, 5).map(({ span, ownNs }) => [span.id, Number(ownNs / S)]);

describe("own time excludes the children's time", () => {
  test.each<[string, Seen[], [string, number][]]>([
    ["slow test ranks before its suite", [seen("suite", "", 0, 10), seen("slow", "suite", 0, 8), seen("quick", "suite", 8, 9)], [["slow", 8], ["quick", 1], ["suite", 1]]],
    ["overlapping children", [seen("p", "", 0, 10), seen("a", "p", 1, 5), seen("b", "p", 3, 7)], [["a", 4], ["b", 4], ["p", 4]]],
    ["child ending after its parent", [seen("p", "", 0, 4), seen("a", "p", 2, 9)], [["a", 7], ["p", 2]]],
    ["child starting before its parent", [seen("p", "", 5, 9), seen("a", "p", 0, 6)], [["a", 6], ["p", 3]]],
    ["cycle", [seen("a", "b", 0, 5), seen("b", "a", 0, 5)], []],
    ["span that is its own parent", [seen("a", "a", 0, 5)], []],
    ["copies of a span", [seen("p", "", 0, 9), seen("a", "p", 0, 4), seen("a", "p", 4, 9), seen("p", "", 0, 9)], [["p", 5], ["a", 4]]],
    ["end before start", [seen("a", "", 5, 0)], []],
    ["no spans", [], []],
  ])("%s", (_, spans, expected) => {
    expect(own(spans)).toEqual(expected);
  });
});

test("100,000 children of one span are ranked quickly", () => {
  const spans = Array.from({ length: 100_000 }, (_, number) => seen(String(number), number === 0 ? "" : "0", number, number + 1));
  expect(own(spans)).toHaveLength(5);
});

test("duplicate span ids cause few sorts", () => {
  const spans = Array.from({ length: 50_000 }, (_, number) => {
    const start = (number * 7_919) % 50_000;
    return seen("a", "a", start, start + 1);
  });
  let sorts = 0;
  const sort = vi.spyOn(Array.prototype, "sort").mockImplementation(function (this: unknown[]) {
    sorts += 1;
    return this;
  });
  expect(own(spans)).toEqual([]);
  sort.mockRestore();
  expect(sorts).toBeLessThan(5);
});

describe("untrusted text is escaped", () => {
  test.each([
    ["a|b", "<code>a&#124;b</code>"],
    ["</code><script>", "<code>&#60;/code&#62;&#60;script&#62;</code>"],
    ["``` x", "<code>&#96;&#96;&#96; x</code>"],
    ["[a](http://b) @c #1 $x$", "<code>&#91;a&#93;&#40;http&#58;//b&#41; &#64;c &#35;1 &#36;x&#36;</code>"],
    ["&lt;b&gt;", "<code>&#38;lt;b&#38;gt;</code>"],
    ["a\nb\u0000\u001b[31mc", "<code>a b &#91;31mc</code>"],
    ["\u202eabc\u2066d\u200be", "<code>abc d e</code>"],
    ["\u{e0041}\ufeff", "(no name)"],
    ["ü€😀", "<code>ü€😀</code>"],
    ["\ud800", "<code>\ufffd</code>"],
  ])("%j", (text, markdown) => {
    expect(code(text)).toBe(markdown);
  });

  test("long text is shortened", () => {
    expect(Array.from(visible("😀".repeat(500)))).toHaveLength(120);
    expect(visible("x".repeat(1_000_000))).toHaveLength(120);
  });
});

const result: JobResult = {
  spans: 0,
  reports: 0,
  parts: [],
  dropped: { spans: 0, bytes: 0, reports: [] },
  refused: 0,
  problem: null,
  elsewhere: null,
  notStarted: null,
  sent: false,
  failures: [],
  artifact: "pacegate-1-test",
  verdictUrl: null,
};

test("summary of a job with spans and reports", () => {
  const parts = longestParts([seen("tests::slow|case", "", 0, 90, { service: "api" })], 5);
  const text = summary({
    ...result,
    spans: 1_234,
    reports: 1,
    parts,
    dropped: { spans: 5, bytes: 10, reports: ["a`.xml: empty"] },
    problem: "the action's max-size was reached",
    verdictUrl: "https://p.example.com/v",
  });
  expect(text).toBe(`### Pacegate

Collected **1,234 spans and 1 report** inside this job's steps. Uploaded as the artifact pacegate-1-test.

| Where the time went | Duration | Own time |
| --- | ---: | ---: |
| <code>tests&#58;&#58;slow&#124;case</code> in <code>api</code> | 90.0 s | 90.0 s |

- 5 spans dropped: <code>the action&#39;s max-size was reached</code>.
- Not read: <code>a&#96;.xml&#58; empty</code>

[The verdict on this commit](https://p.example.com/v), as soon as the run has ended.
`);
});

test("summary of a job without data is short", () => {
  expect(summary(result)).toBe(
    "### Pacegate\n\nCollected no spans and no reports inside this job's steps, only facts about the runner. Uploaded as the artifact pacegate-1-test.\n",
  );
});

describe("upload result", () => {
  test.each<[Partial<JobResult>, string]>([
    [{ sent: true }, "Uploaded as the artifact pacegate-1-test. Sent to the service."],
    [{ sent: true, artifact: null }, "about the runner. Sent to the service."],
    [{ artifact: null }, "about the runner. **Not uploaded**: this data is lost."],
    [{ artifact: null, failures: ["The artifact was not uploaded: <b>no</b>."] }, "- <code>The artifact was not uploaded&#58; &#60;b&#62;no&#60;/b&#62;.</code>"],
    [{ notStarted: "`listen`: port 1 is in use; choose another." }, "- <code>&#96;listen&#96;&#58; port 1 is in use; choose another.</code>"],
  ])("%j", (more, text) => {
    expect(summary({ ...result, ...more })).toContain(text);
  });
});

test.each([
  [19, 0, "The service accepted 15 spans and created 4 more from the reports."],
  [15, 0, "The service accepted 15 spans."],
  [14, 1, "The service accepted 14 spans and rejected 1."],
])("%s accepted and %s rejected of 15", (spans, rejected, text) => {
  const file = { name: "spans.jsonl.gz", sha256: "", bytes: 0, inflated_bytes: 0, lines: 1, spans: 15 };
  expect(acceptedText({ spans, rejected }, [file])).toBe(text);
});

test.each([
  ["the action left out a report: a.xml: no such file", ""],
  ["a.xml: no JUnit; the action left out a report: b.xml: empty", "a.xml: no JUnit"],
])("message %j is shortened to %j", (message, left) => {
  expect(withoutKnownNotes(message)).toBe(left);
});

test("hostile names keep summary and log harmless", () => {
  const parts = longestParts(Array.from({ length: 9 }, (_, id) => seen(String(id), "", 0, 5, { name: "::error::|`<".repeat(100_000) })), 5);
  const dropped = { spans: 0, bytes: 0, reports: Array.from({ length: 5_000 }, () => "x".repeat(10_000)) };
  // GitHub's limit for a summary is 1 MiB.
  expect(summary({ ...result, spans: 9, parts, dropped }).length).toBeLessThan(30_000);
  for (const line of logLines({ ...result, spans: 9, parts, dropped: { ...dropped, reports: ["::stop-commands::x", "a##[error]b"] } })) {
    expect(line).not.toMatch(/^\s*::|##\[|\n/);
  }
});

test.each([
  [0n, "0 ms"],
  [999_000_000n, "999 ms"],
  [S, "1.0 s"],
  [119n * S, "119.0 s"],
  [245n * S, "4 min 5 s"],
])("%s ns is %s", (ns, text) => {
  expect(duration(ns)).toBe(text);
});

test("text from changed files is escaped", () => {
  const forged = { ...result, problem: "##[error]a ![i](https://b) <b>x</b>", notStarted: "##[error]c <img src=x>" };
  for (const one of [{ ...forged, refused: 3 }, { ...forged, dropped: { ...result.dropped, spans: 1 } }]) {
    expect(summary(one)).not.toMatch(/!\[|<b>|<img/);
    for (const line of logLines(one)) expect(line).not.toContain("##[");
  }
});
