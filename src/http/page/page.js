"use strict";
(() => {
  // Milliseconds.
  const EVERY = 2000, SLOWEST = 10000, HIDDEN = 30000, PATIENCE = 5000, LONG_WAIT = 300000;
  const STATES = ["recorded", "sending", "unknown", "needs_operator", "succeeded", "rejected", "not_sent", "expired"];
  const NO_STORE = "The store does not answer.";

  const by = (id) => document.getElementById(id);
  const words = (name) => name.replaceAll("_", " ");
  const whole = (number) => number.toLocaleString("en");

  // Texts become text nodes, whatever is in them: no markup is ever made of data.
  function make(tag, attributes, ...content) {
    const made = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) if (value !== undefined) made.setAttribute(name, value);
    made.append(...content.filter((part) => part !== null && part !== ""));
    return made;
  }
  function draw(tag, attributes, ...content) {
    const drawn = document.createElementNS(by("pen").namespaceURI, tag);
    for (const [name, value] of Object.entries(attributes)) drawn.setAttribute(name, value);
    drawn.append(...content);
    return drawn;
  }
  const sub = (...content) => make("span", { class: "sub" }, ...content);
  const marked = (level, text) => make("span", { class: level }, text);

  // Only what differs is touched, so that a selection survives.
  function fill(parent, wanted) {
    const had = [...parent.childNodes];
    had.slice(wanted.length).forEach((node) => node.remove());
    wanted.forEach((node, i) => (i < had.length ? turn(had[i], node) : parent.append(node)));
  }
  function turn(had, wanted) {
    if (had.nodeName !== wanted.nodeName) return had.replaceWith(wanted);
    if (had.nodeType === Node.TEXT_NODE) {
      if (had.data !== wanted.data) had.data = wanted.data;
      return;
    }
    for (const { name } of [...had.attributes]) if (!wanted.hasAttribute(name)) had.removeAttribute(name);
    for (const { name, value } of wanted.attributes) if (had.getAttribute(name) !== value) had.setAttribute(name, value);
    fill(had, [...wanted.childNodes]);
  }

  // Times. The gateway's clock counts: the browser's may be off.
  let ahead = 0;
  const now = () => Date.now() + ahead;
  function span(millis) {
    const s = Math.max(0, Math.floor(millis / 1000)), m = Math.floor(s / 60), h = Math.floor(m / 60), d = Math.floor(h / 24);
    if (s < 60) return `${s} s`;
    if (m < 60) return `${m} min ${s % 60} s`;
    if (h < 48) return `${h} h ${m % 60} min`;
    return `${d} d ${h % 24} h`;
  }
  const FORMS = {
    age: (at) => span(now() - at),
    ago: (at) => `${span(now() - at)} ago`,
    until: (at) => (at > now() ? `in ${span(at - now() + 999)}` : "now"),
  };
  function time(form, at) {
    const date = new Date(at);
    return make("time", { datetime: date.toISOString(), title: date.toLocaleString([], { timeZoneName: "short" }), "data-at": at, "data-form": form }, FORMS[form](at));
  }
  const tick = () => document.querySelectorAll("time[data-at]").forEach((it) => {
    const text = FORMS[it.dataset.form](Number(it.dataset.at));
    if (it.textContent !== text) it.textContent = text;
  });

  // A row that the list of what needs attention links to.
  const anchor = (kind, name) => `${kind}-${encodeURIComponent(name)}`;
  const anchored = (kind, name, cells) => Object.assign(cells, { anchor: anchor(kind, name) });

  // Tables. A cell is content, or [content, class]; the first one of a row may be its header.
  function row(labels, cells, header) {
    return make("tr", { role: "row", id: cells.anchor }, ...cells.map((cell, i) => {
      const [content, look] = Array.isArray(cell) ? cell : [cell, undefined];
      const head = header && i === 0;
      return make(head ? "th" : "td", { role: head ? "rowheader" : "cell", scope: head ? "row" : undefined, class: look, "data-label": labels[i] },
        content instanceof Node ? content : make("span", {}, String(content)));
    }));
  }
  function table(id, rows, empty, header = true) {
    const it = by(id), labels = [...it.tHead.rows[0].cells].map((cell) => cell.textContent);
    const note = (text, look) => make("tr", { role: "row" }, make("td", { role: "cell", class: look, colspan: labels.length }, text));
    const lines = rows === null ? [note(NO_STORE, "none bad")] : rows.map((cells) => (typeof cells === "string" ? note(cells, "none") : row(labels, cells, header)));
    fill(it.tBodies[0], lines.length ? lines : [note(empty, "none")]);
  }
  const more = (count) => (count > 0 ? [`and at least ${whole(count)} more`] : []);
  const facts = (id, pairs) => fill(by(id), pairs.map(([name, value]) => make("div", {}, make("dt", {}, name), make("dd", {}, value))));

  function token({ state, time: at }) {
    switch (state) {
      case "valid": return make("span", {}, "valid", sub("ends ", time("until", at)));
      case "expired": return make("span", {}, "expired", sub(time("ago", at), ", renewed by the next call"));
      case "failed": return make("span", {}, marked("bad", "refused"), sub("next try ", time("until", at)));
      default: return make("span", {}, "none yet");
    }
  }
  const isClosed = ({ circuit }) => circuit === "closed";
  function bucket(it) {
    const { operation, tokens, limit_per_minute: limit, next_token_time: next, circuit, probe_time: probe } = it;
    const text = `${tokens < 100 ? tokens.toFixed(1) : whole(Math.floor(tokens))} of ${whole(limit)}`;
    return make("li", {},
      make("span", { class: "name" }, operation), " ", text,
      make("meter", { min: 0, max: limit, low: limit / 10, optimum: limit, value: Math.min(tokens, limit), "aria-label": `${operation}: ${text} calls` }),
      next === null ? null : sub(marked("warn", "empty"), ", next ", time("until", next)),
      isClosed(it) ? null : sub(marked("bad", `circuit ${words(circuit)}`), probe === null ? "" : ", probe ", probe === null ? "" : time("until", probe)));
  }
  // There are too many for columns. What is well is said once.
  const buckets = (operations) => make("div", {},
    make("ul", { class: "buckets" }, ...operations.map(bucket)),
    sub(operations.every(isClosed) ? "All circuits closed." : "The other circuits are closed."));
  const count = (account, state) => (account.ledger ?? []).filter((it) => it.state === state).reduce((sum, it) => sum + it.count, 0);
  function ledger(account) {
    if (account.ledger === null) return null;
    const open = account.ledger.map((it) => it.oldest).filter((at) => at !== null);
    const cells = STATES.map((state) => {
      const number = count(account, state);
      const look = state === "needs_operator" && number ? "n bad" : state === "unknown" && number ? "n warn" : "n";
      return [whole(number), look];
    });
    return anchored("ledger", account.account, [account.account, ...cells, open.length ? time("age", Math.min(...open)) : "none"]);
  }
  const STATE_LOOK = { needs_operator: "bad", unknown: "warn", lost_events: "bad" };
  const operation = (it) => [
    [it.name, "id"],
    marked(STATE_LOOK[it.state] ?? "", words(it.state)),
    it.batches > 1 ? `${it.kind}, batch ${it.batch + 1} of ${it.batches}` : it.kind,
    it.account,
    [it.order_number, "id"],
    time("age", it.created),
    [it.attempts, "n"],
    it.next_lookup === null ? "none" : time("until", it.next_lookup),
    [it.last_error, "text"],
  ];
  const log = (feed) => feed === null ? [["Log", marked("bad", NO_STORE)]] : [
    ["Last position", whole(feed.head)], ["First kept", whole(feed.first)], ["Events kept", whole(feed.kept)],
    ["Open streams", whole(feed.open_streams)], ["Log", make("code", {}, feed.log_id)],
  ];
  const subscription = (it) => anchored("subscription", it.name, [
    [it.name, "id"],
    words(it.feed),
    marked(STATE_LOOK[it.state] ?? "", words(it.state)),
    [whole(it.backlog), "n"],
    it.oldest === null ? "nothing waits" : time("age", it.oldest),
    [whole(it.outstanding), "n"],
    [whole(it.parked), it.parked ? "n warn" : "n"],
    [whole(it.consumers), "n"],
  ]);
  const intent = (it) => [
    [it.seq, "n"], time("ago", it.received), it.account, [it.purchase_order_id || "none", "id"], it.event_type, [it.event_id, "id"],
  ];
  const failure = (it) => [
    time("ago", it.last),
    [it.count === 1 ? "1" : make("span", {}, whole(it.count), sub("since ", time("ago", it.first))), "n"],
    [it.reason ?? "none", "id"],
    it.code,
    it.method.replace(/^ordergateway\.v1\./, ""),
    it.account ?? "none",
    [it.correlation_id ?? "none", "id"],
  ];
  const delivered = (it) => [
    it.account,
    Object.entries(it.webhooks).map(([outcome, number]) => `${words(outcome)} ${whole(number)}`).join(", ") || "none yet",
  ];

  // Small plots of the last hour: a line for each series, a point for each minute, the current minute at the right.
  const WIDE = 240, HIGH = 64, MINUTES = 60, LINES = 5;
  function path(values, top) {
    const x = (i) => ((MINUTES - values.length + i) * WIDE) / (MINUTES - 1), y = (value) => HIGH - 2 - ((HIGH - 4) * value) / top;
    let pen = "M";
    return values.map((value, i) => {
      if (value === null) {
        pen = "M";
        return "";
      }
      // A line of length zero shows a point that stands alone.
      const to = `${x(i).toFixed(1)} ${y(value).toFixed(1)}`, point = pen === "M" ? `M${to}L${to}` : `L${to}`;
      pen = "L";
      return point;
    }).join("");
  }
  function plot(title, series, show, top) {
    const all = series.flatMap((it) => it.values).filter((value) => value !== null);
    const most = Math.max(0, ...all), latest = (values) => (values.at(-1) === null ? "none" : show(values.at(-1)));
    const caption = all.length ? `${title}, at most ${show(most)}` : `${title}: none`;
    const told = `${caption}. Now: ${series.map((it) => `${it.name} ${latest(it.values)}`).join(", ")}`;
    return make("figure", {},
      make("figcaption", {}, caption),
      draw("svg", { viewBox: `0 0 ${WIDE} ${HIGH}`, preserveAspectRatio: "none", role: "img", "aria-label": told },
        draw("path", { class: "axis", d: `M0 ${HIGH - 1}H${WIDE}` }),
        ...series.map((it, i) => draw("path", { class: `line-${i}`, d: path(it.values, top ?? (most || 1)) }))),
      make("ul", { class: "legend" }, ...series.map((it, i) => make("li", { class: `line-${i}` }, `${it.name} ${latest(it.values)}`))));
  }
  // The first lines, and the sum of the others.
  function first(series) {
    if (series.length <= LINES) return series;
    const sum = (values) => values.reduce((so_far, value) => so_far + value, 0), total = (it) => sum(it.values);
    const sorted = [...series].sort((a, b) => total(b) - total(a)), rest = sorted.slice(LINES - 1);
    return [...sorted.slice(0, LINES - 1), { name: "others", values: rest[0].values.map((_, i) => sum(rest.map((it) => it.values[i]))) }];
  }
  function lowest(series) {
    const least = (it) => Math.min(1, ...it.values.filter((value) => value !== null));
    return [...series].sort((a, b) => least(a) - least(b)).slice(0, LINES);
  }
  function hour({ calls, failures, p50, p99, levels }) {
    const named = (map) => Object.entries(map).map(([name, values]) => ({ name, values }));
    const millis = (value) => (value < 10 ? `${value.toFixed(1)} ms` : `${whole(Math.round(value))} ms`);
    return [
      plot("Calls a minute", [{ name: "calls", values: calls }], whole),
      plot("Failures a minute, by reason", first(named(failures)), whole),
      plot("Time of calls without streams", [{ name: "half within", values: p50 }, { name: "99 % within", values: p99 }], millis),
      plot("Level of Walmart's buckets", lowest(named(levels)), (value) => `${Math.floor(value * 100)} %`, 1),
    ];
  }

  // What a person should act on, or look at, with the row and the section of the runbook that explain it.
  function attention(data) {
    const found = [];
    const line = (level, word, text, alert, row) => found.push([level, word, [
      ...text,
      row === undefined ? "" : make("a", { href: `#${encodeURIComponent(row)}` }, "row"),
      alert === undefined ? "" : make("a", { href: `runbook#:~:text=OrderGateway${alert}` }, "runbook"),
    ].flatMap((part) => (part instanceof HTMLAnchorElement ? [" ", part] : [part]))]);
    const act = (text, alert, row) => line("bad", "Act: ", [text].flat(), alert, row);
    const look = (text, alert, row) => line("warn", "Look: ", [text].flat(), alert, row);
    if (data.stage !== "ready") look(`The gateway is ${data.stage}.`);
    for (const it of data.checks) if (it.failing !== null) act(`The ${it.name} fails: ${it.failing}`, "StoreFailing");
    if (data.operations === null || data.feed === null) act(NO_STORE, "StoreFailing");
    for (const account of data.accounts.rows) {
      const name = account.account, here = anchor("account", name), counts = anchor("ledger", name);
      if (account.token.state === "failed") {
        const why = account.token.failure, status = why && why.http_status ? `, HTTP ${why.http_status}` : "";
        act([`${name}: no access token can be had${why ? ` (${words(why.kind)}${status})` : ""}; next try `, time("until", account.token.time)], "CredentialsRefused", here);
      }
      for (const it of account.operations) if (it.circuit !== "closed") look(`${name}: calls of ${it.operation} keep failing at Walmart; the circuit is ${words(it.circuit)}.`, "CircuitOpen", here);
      const waiting = count(account, "needs_operator"), unknown = count(account, "unknown");
      if (waiting) act(`${name}: ${whole(waiting)} ${waiting === 1 ? "operation waits" : "operations wait"} for a person.`, "NeedsOperator", counts);
      if (unknown) look(`${name}: ${whole(unknown)} ${unknown === 1 ? "outcome is" : "outcomes are"} not known; Walmart is being asked.`, "UnknownOutcomes", counts);
    }
    for (const it of data.subscriptions?.rows ?? []) {
      const here = anchor("subscription", it.name);
      if (it.state === "lost_events") act(`Subscription ${it.name} has lost events and gives out nothing until it is moved (SeekSubscription).`, "FeedLost", here);
      // A paused subscription falls behind on purpose.
      else if (it.state !== "paused" && it.backlog && it.oldest !== null && now() - it.oldest > LONG_WAIT) look([`Subscription ${it.name} is ${whole(it.backlog)} behind, with ${whole(it.consumers)} consumers here; the oldest event came `, time("ago", it.oldest)], "FeedLag", here);
      if (it.parked) look(`Subscription ${it.name} has ${whole(it.parked)} parked.`, "IntentsParked", here);
    }
    return found;
  }

  function show(data) {
    ahead = data.time - Date.now();
    by("version").textContent = data.version;
    const needs = attention(data);
    document.title = needs.length ? `(${needs.length}) order-gateway` : "order-gateway";
    fill(by("attention"), needs.length
      ? needs.map(([level, word, text]) => make("li", {}, marked(level, word), ...text))
      : [make("li", {}, marked("good", "Nothing."))]);
    facts("process", [
      ["Stage", marked(data.stage === "ready" ? "good" : "warn", data.stage)],
      ["Up for", time("age", data.start_time)],
      ...data.checks.map((it) => [`Check ${it.name}`, it.failing === null ? marked("good", "ok") : marked("bad", "failing")]),
    ]);
    const accounts = data.accounts.rows;
    const further = more(data.accounts.more);
    fill(by("hour"), hour(data.hour));
    table("accounts", [...accounts.map((it) => anchored("account", it.account, [it.account, token(it.token), [buckets(it.operations), "wide"]])), ...further], "None.");
    const ledgers = accounts.map(ledger);
    table("ledger", ledgers.includes(null) ? null : [...ledgers, ...further], "None.");
    table("operations", data.operations && [...data.operations.rows.map(operation), ...more(data.operations.more)], "None.");
    table("webhooks", accounts.filter((it) => it.webhooks !== null).map(delivered), "No account receives webhooks.");
    facts("feed", log(data.feed));
    facts("updates", log(data.order_updates));
    table("subscriptions", data.subscriptions && [...data.subscriptions.rows.map(subscription), ...(data.subscriptions.more ? ["and more"] : [])], "None.");
    table("intents", data.intents && data.intents.map(intent), "None yet.", false);
    table("errors", data.errors.map(failure), "None.", false);
    commands(data.grpc);
    by("board").hidden = false;
    tick();
  }

  function commands({ host, port, tls, clients }) {
    const name = host ?? location.hostname;
    const bare = name.includes(":") && !name.startsWith("[") ? `[${name}]` : name;
    const address = port === null ? name : `${bare}:${port}`;
    const start = `grpcurl ${tls ? "" : "-plaintext "}${clients ? "-H 'authorization: Bearer …' " : ""}`;
    for (const it of document.querySelectorAll("code[data-rpc]")) {
      const body = it.dataset.body ? `-d '${it.dataset.body}' ` : "";
      const text = `${start}${body}${address} ordergateway.v1.${it.dataset.rpc}`;
      // A long name may break after a dot, a slash or a comma, never inside a word.
      if (it.textContent !== text) it.replaceChildren(...text.split(/(?<=[./,])/).flatMap((part) => [part, document.createElement("wbr")]));
    }
  }

  // The way to the gateway. `answered` and `lost` are by the browser's clock: when it answered last, and since when it does not.
  let answered = null, lost = null, pause = EVERY, timer, asking = false;
  function say() {
    const text = lost === null ? "Up to date." : `Not answering since ${new Date(lost).toLocaleTimeString([], { timeZoneName: "short" })}.`;
    if (by("link").textContent !== text) by("link").textContent = text;
    document.body.classList.toggle("lost", lost !== null);
    document.querySelectorAll(".stale").forEach((it) => { it.hidden = lost === null; });
    if (lost !== null) document.title = "not answering: order-gateway";
  }
  function age() {
    if (answered === null) return;
    const old = span(Date.now() - answered);
    by("age").textContent = lost === null ? `as of ${old} ago` : `What you see is ${old} old.`;
  }
  async function ask() {
    const abort = new AbortController(), limit = setTimeout(() => abort.abort(), PATIENCE);
    try {
      const answer = await fetch("status.json", { cache: "no-store", signal: abort.signal });
      return answer.ok ? await answer.json() : null;
    } catch {
      return null;
    } finally {
      clearTimeout(limit);
    }
  }
  async function poll() {
    if (asking) return;
    clearTimeout(timer);
    asking = true;
    try {
      const data = await ask();
      if (data === null) {
        lost ??= Date.now();
        pause = Math.min(pause * 1.5, SLOWEST);
      } else {
        [answered, lost, pause] = [Date.now(), null, EVERY];
        show(data);
      }
    } finally {
      asking = false;
      say();
      age();
      timer = setTimeout(poll, document.hidden ? Math.max(pause, HIDDEN) : pause);
    }
  }

  // On a phone the sections are folded at first; a jump opens its section.
  const phone = matchMedia("(max-width: 760px)"), sections = document.querySelectorAll("details.section");
  const fold = () => sections.forEach((it) => { it.open = !phone.matches; });
  phone.addEventListener("change", fold);
  fold();
  function reveal() {
    const target = by(decodeURIComponent(location.hash.slice(1)));
    const section = target && target.closest("details.section");
    if (!section || section.open) return;
    section.open = true;
    target.scrollIntoView();
  }
  addEventListener("hashchange", reveal);
  // The section may be folded again since the same jump.
  document.addEventListener("click", (event) => { if (event.target.closest?.("a[href^='#']")) setTimeout(reveal); });
  by("zone").textContent = `your time zone, ${Intl.DateTimeFormat().resolvedOptions().timeZone}`;

  document.querySelectorAll("table").forEach((it) => {
    it.setAttribute("role", "table");
    it.querySelectorAll("thead, tbody").forEach((part) => part.setAttribute("role", "rowgroup"));
    it.querySelectorAll("thead tr").forEach((part) => part.setAttribute("role", "row"));
    it.querySelectorAll("thead th").forEach((part) => part.setAttribute("role", "columnheader"));
  });
  document.addEventListener("visibilitychange", () => { if (!document.hidden) poll(); });
  setInterval(() => { tick(); age(); }, 1000);
  poll();
})();
