// What Lighthouse says of the page.

import assert from "node:assert/strict";
import { pathToFileURL } from "node:url";

import { debugged, require } from "./browser.mjs";

const WANTED = { accessibility: 1, "best-practices": 1, performance: 0.9 };
// A machine that is busy with something else makes the page look slow, and never quick: the best one counts.
const TRIES = 3;

const load = (file) => import(pathToFileURL(require.resolve(file)));

// Fails below the wanted scores, with the audits that cost them. Returns the scores.
export async function judged(url, device) {
  const { default: lighthouse } = await load("lighthouse/core/index.js");
  const config = device === "desktop" ? (await load("lighthouse/core/config/desktop-config.js")).default : undefined;
  const flags = { logLevel: "silent", onlyCategories: Object.keys(WANTED) };
  let faults;
  for (let tried = 0; tried < TRIES; tried += 1) {
    const { lhr } = await debugged((port) => lighthouse(url, { ...flags, port }, config));
    assert.equal(lhr.runtimeError, undefined);
    const categories = Object.entries(lhr.categories);
    const short = categories.filter(([name, { score }]) => !(score >= WANTED[name]));
    if (short.length === 0) return categories.map(([name, { score }]) => `${name} ${Math.round(100 * score)}`).join(", ");
    faults = short.map(([name, { score, auditRefs }]) => {
      const costly = auditRefs.map(({ id, weight }) => ({ ...lhr.audits[id], weight })).filter((it) => it.weight > 0 && it.score !== null && it.score < 1);
      return `${name} ${score}: ${costly.map((it) => `${it.id} ${it.displayValue ?? JSON.stringify(it.details?.items)}`).join("; ")}`;
    });
  }
  assert.fail(`${device}: ${faults.join("\n")}`);
}
