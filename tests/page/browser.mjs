// The system's Chromium, and what a page must never do in it.

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { tmpdir } from "node:os";
import { setTimeout as pause } from "node:timers/promises";

// Where scripts/test installs them; modules are not looked up by NODE_PATH.
export const require = createRequire(new URL("../../.tools/node/node_modules/", import.meta.url));
const { chromium } = require("playwright-core");
const axe = readFileSync(require.resolve("axe-core/axe.min.js"), "utf8");

// A folder, to look at what the page looked like.
const folder = process.env.SCREENSHOTS;

const QUIET = ["--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync"];

function executable() {
  const found = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"].find(existsSync);
  assert(found, "there is no Chromium; ./scripts/test installs it");
  return found;
}

export const launch = () => chromium.launch({ executablePath: executable(), args: QUIET });

// A browser of its own that listens for a debugger; `work` gets the port.
export async function debugged(work) {
  const profile = mkdtempSync(`${tmpdir()}/lighthouse-`), port = `${profile}/DevToolsActivePort`;
  const args = [...QUIET, "--headless=new", "--remote-debugging-port=0", `--user-data-dir=${profile}`, "about:blank"];
  const browser = spawn(executable(), args, { stdio: "ignore" });
  const ended = once(browser, "exit");
  try {
    for (const end = Date.now() + 20_000; !existsSync(port) && Date.now() < end;) await pause(50);
    return await work(Number(readFileSync(port, "utf8").split("\n")[0]));
  } finally {
    browser.kill();
    await ended;
    rmSync(profile, { recursive: true, force: true, maxRetries: 5 });
  }
}

// One window. It notes what must not be: `check` fails if anything was.
export class Window {
  static async open(browser, origin, options) {
    const window = new Window();
    window.context = await browser.newContext(options);
    const page = await window.context.newPage();
    Object.assign(window, { page, origin, complaints: [], asked: [] });
    page.on("console", (line) => {
      if (line.type() === "error" || line.type() === "warning") window.complaints.push(`${line.type()}: ${line.text()}`);
    });
    page.on("pageerror", (error) => window.complaints.push(`thrown: ${error}`));
    page.on("dialog", (dialog) => { window.complaints.push("a dialog"); dialog.dismiss(); });
    page.on("request", (request) => {
      const url = new URL(request.url());
      if (url.protocol !== "data:" && url.origin !== origin) window.complaints.push(`asked ${url}`);
      if (url.pathname === "/status.json") window.asked.push(Date.now());
    });
    await page.addInitScript(() => {
      window.violations = [];
      document.addEventListener("securitypolicyviolation", (it) => window.violations.push(`${it.violatedDirective} ${it.blockedURI}`));
    });
    await page.goto(`${origin}/`);
    return window;
  }

  // Until the element has a text that fits. The page refreshes itself every two seconds.
  async until(selector, wanted, millis = 10_000) {
    const end = Date.now() + millis;
    let text;
    do {
      text = await this.page.locator(selector).first().innerText({ timeout: millis });
      if (wanted.test(text)) return text;
      await pause(50);
    } while (Date.now() < end);
    assert.fail(`${selector} should have ${wanted}; it has:\n${text}`);
  }

  // Nothing that must not be has been.
  async check() {
    assert.deepEqual(this.complaints, []);
    assert.deepEqual(await this.page.evaluate(() => window.violations), []);
  }

  // Names, contrast, structure, keyboard.
  async accessible() {
    await this.page.evaluate(axe);
    const { violations } = await this.page.evaluate(() => window.axe.run());
    const found = violations.map((it) => `${it.id}: ${it.nodes.map((node) => node.html).join("\n    ")}`);
    assert.deepEqual(found, []);
  }

  // The page is not wider than the window.
  async fits() {
    const [wide, has] = await this.page.evaluate(() => [document.documentElement.scrollWidth, document.documentElement.clientWidth]);
    assert(wide <= has, `${wide} wide in a window of ${has}`);
  }

  // The table needs no scrolling sideways.
  async shownWhole(selector) {
    const [wide, has] = await this.page.locator(selector).evaluate((it) => [it.scrollWidth, it.closest(".scroll").clientWidth]);
    assert(wide <= has, `${selector} is ${wide} wide in ${has}`);
  }

  // No word is broken in the middle. Ids may break where they are longer than their line.
  async wholeWords() {
    const broken = await this.page.evaluate(() => {
      const found = [], texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
      for (let text = texts.nextNode(); text; text = texts.nextNode()) {
        if (text.parentElement.closest("td.id, td.text, script, style, thead")) continue;
        for (const word of text.data.matchAll(/[\p{L}\p{N}]+/gu)) {
          const range = document.createRange();
          range.setStart(text, word.index);
          range.setEnd(text, word.index + word[0].length);
          const lines = new Set([...range.getClientRects()].filter((it) => it.width > 0).map((it) => Math.round(it.top)));
          if (lines.size > 1) found.push(word[0]);
        }
      }
      return found;
    });
    assert.deepEqual(broken, []);
  }

  async picture(name) {
    if (!folder) return;
    mkdirSync(folder, { recursive: true });
    await this.page.screenshot({ path: `${folder}/${name}.png`, fullPage: true });
  }
}
