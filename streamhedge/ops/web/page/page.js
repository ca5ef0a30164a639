// The page: one feed of frames in, the figures out. Everything that is shown is text; nothing said by the venue is markup.

const STALE_MS = 3000;
const AGAIN_MS = 3000;
const NOTES_MOST = 200;
const at = (id) => document.getElementById(id);
const loud = at("loud");
let notes = [];
let samples = [];
let lastFrameMs = performance.now();
let everLive = false;
let plotly = null;
let latest = null;
let asking = false;

// ------------------------------------------------------------ words

const TONE = {
  ACTIVE: "good", REDUCING: "warn", HALTED: "bad", LIVE: "good", SYNCING: "warn", SUSPECT: "bad", COLD: "warn",
  OPEN: "good", REDUCE_ONLY: "warn", BLOCKED: "bad", open: "good", closed: "bad",
  clear: "good", warn: "warn", reduce: "bad", close: "bad", warning: "warn", critical: "bad",
};

function make(name, text, tone) {
  const found = document.createElement(name);
  if (text !== undefined) found.textContent = text;
  if (tone) found.className = tone;
  return found;
}

function age(ms) {
  if (ms === null || ms === undefined) return "never";
  if (ms < 1000) return `${ms} ms`;
  if (ms < 120000) return `${(ms / 1000).toFixed(1)} s`;
  return `${Math.floor(ms / 60000)} min`;
}

function figure(text, places) {
  if (text === null || text === undefined) return "unknown";
  const value = Number(text);
  return Number.isFinite(value)
    ? value.toLocaleString("en-US", { minimumFractionDigits: places, maximumFractionDigits: places })
    : String(text);
}

const percent = (text) => (text === null || text === undefined ? "none" : `${(Number(text) * 100).toFixed(2)} %`);
const clock = (ms) => new Date(ms).toISOString().slice(11, 23);

// ------------------------------------------------------------ status

let said = "";

function showStates(status) {
  const line = at("states");
  const now = JSON.stringify([status.trading_state, status.book_status, status.trading_reasons, status.book_reason]);
  // It is read aloud when it changes, so it is written only then.
  if (now !== said) line.replaceChildren(
    make("span", status.trading_state, `state ${TONE[status.trading_state]}`),
    document.createTextNode("  book "),
    make("span", status.book_status, `state ${TONE[status.book_status]}`),
    document.createTextNode(`  ${status.trading_reasons.join("; ") || status.book_reason}`),
  );
  said = now;
  const waits = status.event_to_sent_ms;
  const speed = waits.p50 === null ? "no order yet" : `event to sent p50 ${waits.p50} ms, p99 ${waits.p99} ms`;
  at("venue").textContent =
    `${status.venue}, version ${status.version}, pid ${status.pid}, up ${age(Math.round(status.uptime_s * 1000))}, ${speed}`;
  document.title = `${status.trading_state} · streamhedge`;
  document.body.dataset.trading = status.trading_state;
}

// What somebody who is woken has to know first: what the state means for the money, and what ends it.
function showTrading(status) {
  const open = status.hedges.filter((hedge) => Number(hedge.position) !== 0)
    .map((hedge) => `${hedge.symbol} ${hedge.position} stays open, ${percent(hedge.liquidation_distance)} from liquidation`);
  const means = {
    HALTED: ["HALTED: no order goes out but a flatten's, and the ladder is off", ...open, "Find the cause, then resume with a reason."],
    REDUCING: ["REDUCING: what is bought now is not hedged; reductions and the ladder go on", "It ends with its reason, one that a person set by a resume."],
  }[status.trading_state] ?? [];
  const shadow = status.shadow ? ["SHADOW: orders are shown and withheld, nothing is hedged"] : [];
  const text = [...shadow, ...means].join(". ");
  const bar = at("trading");
  bar.hidden = text === "";
  if (bar.textContent !== text) bar.textContent = text;
}

function showAlerts(rows) {
  at("alerts-empty").hidden = rows.length > 0;
  at("alerts").querySelector("ul").replaceChildren(
    ...rows.map((row) => {
      const item = make("li", `#${row.number} `);
      item.append(
        make("span", `${row.level} ${row.code} ${row.symbol}`.trim(), TONE[row.level]),
        document.createTextNode(
          `: ${row.text} (since ${clock(row.first_ms).slice(0, 8)}Z, ${row.times}×, ${row.acknowledged ? "seen" : "nobody has seen it"})`,
        ),
      );
      return item;
    }),
  );
}

function showBlocked(rows) {
  at("blocked").hidden = rows.length === 0;
  at("blocked").querySelector("ul").replaceChildren(
    ...rows.map((row) => {
      const remedy = row.remedy
        ? ` Remedy: post ${figure(row.remedy.top_up, 2)} USDT, or sell ${figure(row.remedy.sell_quantity, 4)} of the float.`
        : "";
      return make("li", `${row.symbol}: ${row.reason}.${remedy}`);
    }),
  );
}

function pair(name, value, small, tone) {
  const box = document.createElement("div");
  const dd = make("dd", value, tone);
  if (small) dd.append(make("small", small));
  box.append(make("dt", name), dd);
  return box;
}

function nakedTone(hedge, status) {
  if (hedge.naked_usd !== null && Math.abs(hedge.naked_usd) > Number(status.max_naked)) return "bad";
  return hedge.in_band ? "good" : "warn";
}

function showHedges(status) {
  at("hedges").replaceChildren(
    ...status.hedges.map((hedge) => {
      const box = document.createElement("div");
      const title = make("h3", `${hedge.symbol} `);
      title.append(make("span", hedge.symbol_state, TONE[hedge.symbol_state]));
      const list = document.createElement("dl");
      const funding = status.funding.symbols[hedge.symbol];
      list.append(
        pair("float", `${hedge.float} ${hedge.asset}`, `policy short ${hedge.policy_short}`),
        pair("position", hedge.position, `target ${hedge.target}, ${age(hedge.position_age_ms)} old`),
        pair(
          "naked", `${figure(hedge.naked_usd, 2)} USDT`,
          `${hedge.naked_btc} ${hedge.asset}; alarm above ${figure(status.max_naked, 0)}`, nakedTone(hedge, status),
        ),
        pair("net delta", `${figure(hedge.net_delta_usd, 2)} USDT`, `dust ${hedge.dust}${hedge.hold ? `, waiting: ${hedge.hold}` : ""}`),
        pair("mark", figure(hedge.mark_price, 2), `${age(hedge.mark_age_ms)} old`, hedge.mark_age_ms > 10000 ? "bad" : ""),
        pair("liquidation", figure(hedge.liquidation_price, 2), `venue says ${figure(hedge.venue_liquidation_price, 2)}`),
        pair("distance", percent(hedge.liquidation_distance), `joint ${percent(hedge.joint_distance)}, ladder ${hedge.ladder}`, TONE[hedge.ladder]),
        pair("unrealised", `${figure(hedge.unrealized_pnl, 2)} USDT`, `entry ${figure(hedge.entry_price, 2)}`),
      );
      if (funding) {
        list.append(pair(
          "funding", percent(funding.funding_rate),
          `${figure(funding.next_payment_if_held, 2)} USDT if held until ${clock(funding.next_funding_time_ms).slice(0, 8)}Z`,
        ));
      }
      if (hedge.in_doubt.length) list.append(pair("in doubt", hedge.in_doubt.join(", "), "", "warn"));
      box.append(title, list);
      return box;
    }),
  );
  const account = status.account;
  const list = document.createElement("dl");
  if (account) {
    list.append(
      pair("wallet", `${figure(account.wallet_balance, 2)} ${account.asset}`, `${age(account.age_ms)} old`),
      pair("margin", figure(account.margin_balance, 2), `available ${figure(account.available, 2)}`),
      pair("margin ratio", percent(account.margin_ratio), `maintenance ${figure(account.maintenance_margin, 2)}`),
      pair("funding, this run", `${figure(status.funding.realised_usd, 2)} USDT`, "+ was received"),
    );
  }
  at("account").replaceChildren(list);
}

function showStreams(status) {
  at("streams").replaceChildren(
    ...status.streams.map((stream) => {
      const row = make("li", `${stream.name} `);
      row.append(make("span", stream.state, TONE[stream.state]), document.createTextNode(` ${age(stream.age_ms)}`));
      return row;
    }),
    make("li", `clock offset ${status.clock_offset_ms === null ? "unknown" : `${status.clock_offset_ms} ms`}`),
  );
}

function showOrders(rows) {
  at("orders-empty").hidden = rows.length > 0;
  at("orders").replaceChildren(
    ...rows.map((order) => {
      const row = document.createElement("tr");
      const cells = [
        clock(Math.round(order.decided_ns / 1e6)), order.client_order_id, order.side, order.quantity, order.filled,
        order.average_price ?? "", order.status, order.purpose,
      ];
      row.append(...cells.map((text) => make("td", text)));
      if (order.status === "IN_DOUBT") row.className = "warn";
      return row;
    }),
  );
}

const wanted = (note) => !loud.checked || note.level !== "info";

function noteRow(note) {
  const button = document.createElement("button");
  button.type = "button";
  button.append(
    make("time", clock(note.time_ms)),
    make("span", note.symbol ? `${note.code} ${note.symbol}` : note.code, TONE[note.level]),
    make("span", note.text),
  );
  button.addEventListener("click", () => explain(note.seq));
  const row = document.createElement("li");
  row.append(button);
  return row;
}

// New rows go on top of those that stand, so that whoever is in the list by keyboard stays where they are.
function addNotes(news) {
  const list = at("notes");
  notes = [...news, ...notes].slice(0, NOTES_MOST);
  list.prepend(...news.filter(wanted).map(noteRow));
  while (list.childElementCount > NOTES_MOST) list.lastElementChild.remove();
  at("notes-empty").hidden = list.childElementCount > 0;
}

function showNotes() {
  const shown = notes.filter(wanted);
  at("notes-empty").hidden = shown.length > 0;
  at("notes").replaceChildren(...shown.map(noteRow));
}

async function explain(seq) {
  const dialog = at("explain");
  at("explain-title").textContent = `Why: input ${seq}`;
  const text = dialog.querySelector("pre");
  text.textContent = "reading the recording…";
  dialog.showModal();
  try {
    const answer = await fetch(`/explain/${seq}`);
    const found = await answer.json();
    text.textContent = answer.ok ? found.text : found.error;
  } catch {
    text.textContent = "the hedger does not answer";
  }
}

// ------------------------------------------------------------ charts

function theme() {
  const style = getComputedStyle(document.documentElement);
  const colour = (name) => style.getPropertyValue(name).trim();
  return { ink: colour("--ink"), quiet: colour("--quiet"), line: colour("--line"), accent: colour("--accent"), warn: colour("--warn"), bad: colour("--bad"), good: colour("--good") };
}

function layout(colours, lines) {
  return {
    margin: { l: 56, r: 8, t: 8, b: 36 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
    font: { color: colours.ink, size: 11 }, showlegend: false, hovermode: "x unified",
    xaxis: { type: "date", gridcolor: colours.line, ticklabelstandoff: 6 }, yaxis: { gridcolor: colours.line, zerolinecolor: colours.quiet },
    shapes: lines.map(([value, colour]) => ({
      type: "line", xref: "paper", x0: 0, x1: 1, y0: value, y1: value, line: { color: colour, width: 1, dash: "dot" },
    })),
  };
}

function draw(status) {
  at("charts-empty").hidden = plotly !== null && samples.length > 0;
  if (!plotly || samples.length === 0) return;
  const colours = theme();
  // As text: the library would show a moment in the reader's own zone, and everything else here is UTC.
  const times = samples.map((row) => new Date(row[0]).toISOString().slice(0, 23));
  const column = (index, sign = 1) => samples.map((row) => (row[index] === null ? null : row[index] * sign));
  const trace = (name, y, color, dash = "solid") => ({ type: "scatter", mode: "lines", name, x: times, y, line: { color, width: 1.5, shape: "hv", dash } });
  const ladder = ["warn", "reduce", "close"].map((name) => Number(status.ladder[name]) * 100);
  const plots = {
    "chart-float": [[trace("float", column(1), colours.accent), trace("short", column(2, -1), colours.warn, "dot")], []],
    "chart-naked": [[trace("naked", column(3), colours.bad)], [[Number(status.max_naked), colours.bad]]],
    "chart-distance": [
      [trace("distance", column(4, 100), colours.good)],
      [[ladder[0], colours.warn], [ladder[1], colours.bad], [ladder[2], colours.bad]],
    ],
    "chart-funding": [[trace("funding", column(6), colours.accent)], []],
  };
  for (const [id, [traces, lines]] of Object.entries(plots)) {
    const plot = at(id).querySelector(".plot");
    const now = traces.map((one) => `${one.name} ${figure(one.y.at(-1), 2)}`).join(", ");
    plot.setAttribute("aria-label", `${at(id).querySelector("figcaption").firstChild.textContent.trim()}: now ${now}`);
    plotly.react(plot, traces, layout(colours, lines), { displayModeBar: false, responsive: true });
  }
}

function loadCharts() {
  const script = document.createElement("script");
  script.src = "/assets/plotly.js";
  script.addEventListener("load", () => { plotly = window.Plotly; });
  script.addEventListener("error", () => { at("charts-empty").textContent = "The chart library is not installed."; });
  document.head.append(script);
}

// ------------------------------------------------------------ the feed

function link(state, said) {
  document.body.dataset.link = state;
  const bar = at("stale");
  bar.hidden = state === "live";
  bar.textContent = said;
  if (state !== "live") document.title = "no answer · streamhedge";
}

function take(frame) {
  lastFrameMs = performance.now();
  everLive = true;
  const status = frame.status;
  if (status === null) return;
  link("live", "");
  showStates(status);
  showTrading(status);
  showBlocked(status.blocked);
  // Figures that somebody is marking to copy stay until they are done.
  const marked = getSelection();
  if (marked.isCollapsed || !at("main").contains(marked.anchorNode)) {
    showAlerts(status.alerts);
    showHedges(status);
    showStreams(status);
  }
  at("act").hidden = !frame.acts;
  at("read-only").hidden = frame.acts;
  if (frame.orders) showOrders(frame.orders);
  if (frame.notes) addNotes(frame.notes.reverse());
  latest = status;
}

function listen() {
  const feed = new EventSource("/feed");
  feed.addEventListener("open", () => { notes = []; showNotes(); });
  feed.addEventListener("message", (event) => take(JSON.parse(event.data)));
  // A broken connection is opened again by the browser; one that was refused is not.
  feed.addEventListener("error", () => { if (feed.readyState === EventSource.CLOSED) setTimeout(listen, AGAIN_MS); });
}

setInterval(() => {
  const silent = Math.round(performance.now() - lastFrameMs);
  if (silent > STALE_MS) {
    link("lost", everLive
      ? `The hedger has not answered for ${age(silent)}: what you see is old. Check the process; it may still hold a position.`
      : "The hedger does not answer. Is it running?");
  }
}, 500);

setInterval(async () => {
  if (latest === null || document.hidden || asking || document.body.dataset.link !== "live") return;
  asking = true;
  try {
    samples = await (await fetch("/history.json")).json();
    draw(latest);
  } catch { /* the bar above says that it does not answer */ }
  asking = false;
}, 2000);

loud.addEventListener("change", showNotes);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => { if (latest) draw(latest); });

// Enter in a field would press the first button: whoever acts presses the one they mean.
at("act").addEventListener("keydown", (event) => {
  if (event.key === "Enter" && event.target.localName === "input") event.preventDefault();
});

at("act").addEventListener("submit", async (event) => {
  event.preventDefault();
  const said = at("act-said");
  const verb = event.submitter.value;
  said.className = "";
  said.textContent = `${verb}: asked…`;
  try {
    const answer = await fetch(`/act/${verb}`, {
      method: "POST",
      headers: { "Content-Type": "application/json", Authorization: `Bearer ${at("token").value.replace(/[^\x20-\x7e]/g, "?")}` },
      body: JSON.stringify({ reason: at("reason").value }),
    });
    const found = await answer.json();
    said.textContent = answer.ok ? `${verb}: done, trading is ${found.trading_state}` : `${verb} was refused: ${found.error}`;
    said.className = answer.ok ? "good" : "bad";
  } catch {
    said.textContent = "the hedger does not answer; nothing is known of what it did";
    said.className = "bad";
  }
});

loadCharts();
listen();
