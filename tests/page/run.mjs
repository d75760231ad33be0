// The page for people in a real browser, in front of a real gateway. `scripts/page-test` runs it.

import assert from "node:assert/strict";

import { Window, launch } from "./browser.mjs";
import { Gateway, example, order } from "./gateway.mjs";
import { judged } from "./lighthouse.mjs";

const SERVICES = ["FulfillmentService", "CancelIntentService", "OrderUpdateService", "GatewayService"];
// Strangers choose these.
const HOSTILE = '<img src=x onerror="window.hacked=1"><script>window.hacked=2</script>';

const [browser, first] = await Promise.all([launch(), Gateway.start()]);
let gateway = first;
const origin = `http://${gateway.http}`;
const steps = [];
async function step(name, work) {
  const start = Date.now();
  await work();
  steps.push(name);
  console.log(`ok    ${name} (${Date.now() - start} ms)`);
}

try {
  let wide, consuming;

  await step("an idle gateway has a page that says so", async () => {
    wide = await Window.open(browser, origin, { viewport: { width: 1400, height: 900 }, colorScheme: "light" });
    await wide.until("#link", /^Up to date\.$/);
    assert.match(await wide.page.locator("#attention").innerText(), /^Nothing\.$/);
    assert.match(await wide.page.locator("#process").innerText(), /Stage\s+ready[^]*Up for\s+\d+ s[^]*Check store\s+ok/);
    for (const [table, text] of [["operations", "None."], ["subscriptions", "None."], ["intents", "None yet."], ["errors", "None."]]) {
      assert.equal(await wide.page.locator(`#${table} tbody`).innerText(), text);
    }
    await wide.page.evaluate(() => { window.here = "not loaded again"; });
    await wide.picture("1-idle");
  });

  await step("what callers do fills every section, without a reload", async () => {
    await Promise.all([
      gateway.call("FulfillmentService/FetchDeliveryPromise", example("promise")),
      gateway.call("FulfillmentService/CreateOrder", order("SO123")),
      gateway.call("FulfillmentService/CreateOrder", order("MAGIC-DROP-BEFORE-1"), "-max-time", "2"),
      gateway.call("FulfillmentService/CreateOrder", order(`MAGIC-DROP-BEFORE-${HOSTILE}`), "-max-time", "2"),
      gateway.call("FulfillmentService/CreateOrder", { payload: {} }),
      gateway.call("FulfillmentService/CreateOrder", { payload: {} }),
      gateway.call("CancelIntentService/CreateSubscription", { subscription: { name: "oms" } }),
      gateway.trigger("--count=3"),
      gateway.trigger("--purchase-order", HOSTILE),
    ]);
    await wide.until("#intents tbody", /^4\n?[^]*INTENT_TO_CANCEL/);
    await wide.until("#errors tbody", /OUTCOME_PENDING/);
    const table = async (id) => wide.page.locator(`#${id} tbody`).innerText();
    assert.match(await table("accounts"), /demo[^]*valid[^]*ends in 1[45] min[^]*promise [\d.]+ of 20[^]*status 1\d\.\d of 20[^]*create \d+ of 600[^]*All circuits closed\./);
    const state = await (await fetch(`${origin}/status.json`)).json();
    const shown = await wide.page.locator("#accounts .buckets .name").allInnerTexts();
    assert.deepEqual(shown, state.accounts.rows[0].operations.map((it) => it.operation));
    assert.match(await table("ledger"), /demo\s+0\s+0\s+2\s+0\s+1\s+0\s+0\s+0\s+\d+ s/);
    assert.match(await table("operations"), /operations\/\d+\s+unknown\s+create\s+demo\s+MAGIC-DROP-BEFORE-1\s+\d+ s\s+1\s+(in \d|now)/);
    assert.match(await table("subscriptions"), /oms\s+cancel intents\s+active\s+4\s+\d+ s\s+0\s+0\s+0/);
    assert.match(await table("webhooks"), /demo\s+stored 4/);
    const errors = await table("errors");
    assert.match(errors, /ago\s+2\s+since[^]*INVALID_REQUEST\s+INVALID_ARGUMENT\s+FulfillmentService\/CreateOrder\s+demo/);
    assert.match(errors, /OUTCOME_PENDING\s+UNAVAILABLE[^]*[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/);
    assert.match(await wide.page.locator("#feed").innerText(), /Last position\s+4[^]*First kept\s+1[^]*Events kept\s+4/);
    assert.match(await wide.page.locator("#updates").innerText(), /Last position\s+0[^]*First kept\s+1[^]*Events kept\s+0/);
    assert.match(await wide.page.locator("#attention").innerText(), /Look: demo: 2 outcomes are not known/);
    assert.match(await wide.page.title(), /^\(1\) order-gateway$/);
    const hints = await wide.page.locator("code[data-rpc]").allInnerTexts();
    for (const hint of hints) assert(hint.startsWith(`grpcurl -plaintext `) && hint.includes(gateway.grpc) && SERVICES.some((it) => hint.includes(it)), hint);
    await wide.picture("2-busy");
  });

  await step("a line that the page suggests can be pasted", async () => {
    const hint = await wide.page.locator("code[data-rpc='GatewayService/ListOperations']").innerText();
    const [, body, method] = /-d '(.*)' \S+ ordergateway\.v1\.(\S+)$/.exec(hint);
    assert.match(await gateway.call(method, JSON.parse(body)), /OPERATION_STATE_UNKNOWN/);
  });

  await step("names from strangers are text", async () => {
    const cells = await wide.page.locator("#intents td.id, #operations td.id").allTextContents();
    assert(cells.includes(HOSTILE), "the purchase order stands there as it came");
    assert(cells.includes(`MAGIC-DROP-BEFORE-${HOSTILE}`), "and so does the order number");
    assert.equal(await wide.page.locator("main img, main script").count(), 0);
    assert.equal(await wide.page.evaluate(() => window.hacked), undefined);
  });

  await step("a new intent shows by itself", async () => {
    await gateway.trigger("--event=order-updates", "--purchase-order=1700000000042");
    await wide.until("#intents tbody", /1700000000042\s+ORDER_UPDATES \/ INTENT_TO_CANCEL/);
    assert.equal(await wide.page.evaluate(() => window.here), "not loaded again");
    // A busy machine notes single requests late, so the mean counts.
    const mean = (wide.asked.at(-1) - wide.asked[0]) / (wide.asked.length - 1);
    assert(mean >= 1900, `it asks every two seconds: ${wide.asked}`);
  });

  await step("a subscription's consumers, loans and parked events", async () => {
    // It goes on meanwhile.
    consuming = gateway.call("CancelIntentService/SubscribeCancelIntents", { subscription: "oms", consumer_id: "me" }, "-max-time", "6");
    await wide.until("#subscriptions tbody", /oms\s+cancel intents\s+active\s+5\s+\d+ s\s+5\s+0\s+1/);
    await gateway.call("CancelIntentService/SettleCancelIntents", { subscription: "oms", verdicts: [{ lease: "g1.s1.a1", park: { reason: "x" } }, { lease: "g1.s2.a1", ack: {} }] });
    await wide.until("#subscriptions tbody", /oms\s+cancel intents\s+active\s+3\s+\d+ s\s+3\s+1\s+1/);
    await wide.until("#attention", /Subscription oms has 1 parked/);
  });

  await step("what keeps failing at Walmart asks for a person", async () => {
    const failing = [1, 2, 3, 4, 5].map((number) => gateway.call("FulfillmentService/CreateOrder", order(`MAGIC-503-${number}`), "-max-time", "1"));
    await Promise.all(failing);
    await wide.until("#attention", /Look: demo: calls of create keep failing at Walmart; the circuit is (open|half open)/);
    assert.match(await wide.page.locator("#accounts tbody").innerText(), /circuit (open|half open)[^]*The other circuits are closed\./);
    await wide.picture("3-trouble");
    await consuming;
    await wide.until("#subscriptions tbody", /oms\s+cancel intents\s+active\s+3\s+\d+ s\s+3\s+1\s+0/);
  });

  await step("it fits, can be read and used: 1400 px, light", async () => {
    await wide.fits();
    await wide.shownWhole("#accounts");
    await wide.wholeWords();
    await wide.accessible();
    assert.match(await wide.page.locator("#errors time").first().getAttribute("title"), /(UTC|GMT|[A-Z]{3,4})/);
  });

  await step("the last hour: calls, failures by reason, times, levels", async () => {
    const plots = await wide.page.locator("#hour svg").evaluateAll((all) => all.map((it) => it.getAttribute("aria-label")));
    assert.equal(plots.length, 4);
    assert.match(plots[0], /^Calls a minute, at most \d+\. Now: calls \d+$/);
    assert.match(plots[1], /^Failures a minute, by reason, at most \d+\. Now: .*INVALID_REQUEST \d/);
    assert.match(plots[2], /^Time of calls without streams, at most [\d,.]+ ms\. Now: half within [\d.,]+ ms, 99 % within [\d.,]+ ms$/);
    assert.match(plots[3], /^Level of Walmart's buckets, at most \d+ %\. Now: .*status \d+ %/);
  });

  await step("a line that needs attention links to its row and to the runbook", async () => {
    const line = wide.page.locator("#attention li", { hasText: "Subscription oms has 1 parked" });
    await line.getByRole("link", { name: "row" }).click();
    assert.match(await wide.page.locator("tr:target").innerText(), /^oms\s/);
    const runbook = await line.getByRole("link", { name: "runbook" }).getAttribute("href");
    assert.equal(runbook, "runbook#:~:text=OrderGatewayIntentsParked");
    const text = await (await fetch(`${origin}/runbook`)).text();
    assert.match(text, /^## OrderGatewayIntentsParked$/m);
  });

  await step("a paused subscription is no alarm", async () => {
    await gateway.call("CancelIntentService/UpdateSubscription", { subscription: { name: "oms", paused: true } });
    await wide.until("#subscriptions tbody", /oms\s+cancel intents\s+paused/);
    assert.equal(await wide.page.locator("#subscriptions .warn", { hasText: "paused" }).count(), 0);
  });

  await step("a phone sees folded sections, and a jump opens one", async () => {
    const phone = await Window.open(browser, origin, { viewport: { width: 390, height: 844 }, colorScheme: "light" });
    await phone.until("#link", /^Up to date\.$/);
    const high = () => phone.page.evaluate(() => document.documentElement.scrollHeight);
    assert((await high()) < 3000, `${await high()} px`);
    await phone.picture("7-phone");
    assert.equal(await phone.page.locator("#subscriptions").isVisible(), false);
    await phone.page.getByRole("link", { name: "Feeds" }).click();
    await phone.page.locator("#subscriptions").waitFor({ state: "visible" });
    await phone.page.locator("details.section").evaluateAll((all) => all.forEach((it) => { it.open = true; }));
    await phone.fits();
    await phone.shownWhole("#accounts");
    await phone.wholeWords();
    await phone.accessible();
    await phone.picture("8-phone-open");
    await phone.check();
    await phone.context.close();
  });

  await step("the same at 400 px, dark", async () => {
    const narrow = await Window.open(browser, origin, { viewport: { width: 400, height: 800 }, colorScheme: "dark" });
    await narrow.until("#link", /^Up to date\.$/);
    await narrow.fits();
    await narrow.accessible();
    const ground = await narrow.page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
    assert.equal(ground, "rgb(21, 24, 27)");
    await narrow.picture("4-narrow-dark");
    await narrow.page.setViewportSize({ width: 1400, height: 900 });
    await narrow.accessible();
    await narrow.picture("5-wide-dark");
    await narrow.check();
    await narrow.context.close();
  });

  await step("without JavaScript it says where the same stands", async () => {
    const context = await browser.newContext({ javaScriptEnabled: false });
    const page = await context.newPage();
    await page.goto(`${origin}/`);
    assert.match(await page.locator("body").innerText(), /JavaScript, which is off[^]*GatewayService\/GetStatus/);
    await context.close();
  });

  await step("Lighthouse finds nothing", async () => {
    for (const device of ["mobile", "desktop"]) console.log(`      ${device}: ${await judged(`${origin}/`, device)}`);
  });

  await step("nothing was logged, blocked, or asked of anybody else", async () => {
    await wide.check();
  });

  await step("a dead gateway is told, with the age of what is shown", async () => {
    await gateway.kill("SIGKILL");
    await wide.until("#link", /^Not answering since \d/);
    await wide.until("#age", /^What you see is [2-9] s old\.$/);
    assert.equal(await wide.page.locator("h2 .stale:visible").count(), await wide.page.locator("h2").count());
    assert.match(await wide.page.title(), /^not answering/);
    assert.match(await wide.page.locator("#intents tbody").innerText(), /1700000000042/);
    await wide.accessible();
    await wide.picture("6-dead");
  });

  await step("it goes on by itself with the next one", async () => {
    gateway = await Gateway.start({ grpc: gateway.grpc, http: gateway.http });
    await wide.until("#link", /^Up to date\.$/, 20_000);
    await wide.until("#intents tbody", /^None yet\.$/);
    assert.equal(await wide.page.evaluate(() => window.here), "not loaded again");
  });
} finally {
  await browser.close();
  await gateway.kill("SIGTERM");
}
console.log(`${steps.length} passed`);
