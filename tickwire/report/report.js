// The page of one run.

const runPage = P => {
  const F = P.facts, S = P.summary, T = P.trades, ccy = F.currency;
  const net = F.final_ccy - F.start_ccy;
  const tile = (name, value, hint, shade) => el("div", { class: "tile" }, el("span", {}, name), el("b", { class: shade || "" }, value), el("small", {}, hint || "\u00a0"));
  const tiles = () => el("div", { class: "tiles" },
    tile(`Net result, ${ccy}`, signed(net), `${number(F.start_ccy, 0)} → ${number(F.final_ccy, 0)}`, tone(net)),
    tile("Return", percent(S.return_pct, 2), S.cagr_pct === null ? "" : `${percent(S.cagr_pct)} a year`, tone(S.return_pct)),
    tile("Deepest drawdown", percent(S.max_drawdown_pct, 2), `${number(S.max_drawdown_days, 1)} days`, S.max_drawdown_pct > 0 ? "loss" : ""),
    tile("Sharpe", number(S.sharpe), `luck alone: p = ${number(S.sharpe_p, 3)}`, tone(S.sharpe)),
    tile("Profit factor", number(S.trades.profit_factor), `${number(S.trades.expectancy_ccy)} ${ccy} a trade`),
    tile("Won", S.trades.win_rate === null ? NONE : percent(S.trades.win_rate * 100), `of ${number(S.trades.trades, 0)} trades`),
    tile("In the market", percent(S.exposure_share * 100), S.turnover_per_year === null ? "" : `${number(S.turnover_per_year, 0)} × equity a year`));

  // ---- equity
  const equityCard = () => {
    const E = P.equity, marks = P.halts.map(([t, reason]) => [t, "halt: " + words(reason)]);
    const lines = k => [moment(E.t[k]) + " UTC", `equity ${number(E.equity[k])} ${ccy}`, `balance ${number(E.balance[k])}`, `drawdown ${percent(E.drawdown[k], 2)}`];
    const below = timeChart(110, E.t, [{ values: E.drawdown.map(v => -v), color: "loss", fill: "loss-soft", base: 0, width: 1.2 }], { high: 0, tip: lines, text: v => percent(v, 1), name: "drawdown" });
    const above = timeChart(270, E.t, [
      { values: E.balance, color: "faint", width: 1, steps: true }, { values: E.equity, color: "accent", fill: "accent-soft" },
    ], { tip: lines, marks, axis: false, partners: [below], name: "equity" });
    return card("Equity and drawdown", "", el("span", {}, key("accent", "equity"), " ", key("faint", "balance"), " ", key("loss", "drawdown")), above, below);
  };
  const key = (shade, text) => el("span", { class: "key" }, el("i", { style: { background: `var(--${shade})` } }), text);

  // ---- prices
  const unpack = C => {
    const n = C.t.length, out = { symbol: C.symbol, digits: C.digits, step: C.step, t: new Array(n), o: new Array(n), h: new Array(n), l: new Array(n), c: new Array(n) };
    const point = 10 ** -C.digits;
    let t = C.start, before = C.first;
    for (let k = 0; k < n; k++) {
      t += C.t[k] * C.step; out.t[k] = t;
      out.o[k] = (before + C.open[k]) * point; out.h[k] = (before + C.high[k]) * point; out.l[k] = (before + C.low[k]) * point;
      before += C.close[k]; out.c[k] = before * point;
    }
    return out;
  };
  const priceCard = () => {
    const all = P.candles.map(unpack);
    if (!all.length || !all[0].t.length) return { node: null, show: () => {} };
    let data = all[0], from = 0, to = data.t.length, mine = [], at = -1, shown = [], picked = -1;
    const left = 72, right = 12, top = 10, bottom = 22;
    // Where an instant lies among the candles: nights and weekends without ticks take no room.
    const spot = t => { const k = place(data.t, t); return k < 0 ? 0 : k + Math.min(Math.max((t - data.t[k]) / data.step, 0), .999); };
    const choose = index => {
      data = all[index]; mine = [];
      T.symbol.forEach((symbol, k) => { if (symbol === data.symbol) mine.push(k); });
      from = 0; to = data.t.length; at = picked = -1;
    };
    const title = el("span", { class: "soft" });
    const draw = (c, width, high) => {
      const room = width - left - right, first = Math.max(0, Math.floor(from)), last = Math.min(data.t.length, Math.ceil(to));
      const each = Math.max(1, Math.ceil((to - from) / (room / 5)));
      let low = Infinity, top_ = -Infinity;
      for (let k = first; k < last; k++) { low = Math.min(low, data.l[k]); top_ = Math.max(top_, data.h[k]); }
      const seen = mine.filter(k => spot(T.closed[k]) >= from && spot(T.opened[k]) <= to);
      if (seen.length < 60) for (const k of seen) for (const p of [T.open[k], T.close[k]]) { low = Math.min(low, p); top_ = Math.max(top_, p); }
      const margin = (top_ - low || 1) * .05; low -= margin; top_ += margin;
      const x = s => left + (s - from) / (to - from) * room, y = p => top + (top_ - p) / (top_ - low) * (high - top - bottom);
      const rows = niceSteps(low, top_, 6), digits = Math.min(data.digits, Math.max(0, Math.ceil(-Math.log10(rows.step) - 1e-9) + (rows.step.toString().includes("25") ? 1 : 0)));
      c.lineWidth = 1; c.textBaseline = "middle"; c.textAlign = "right";
      for (const value of rows.found) { c.strokeStyle = color("line"); c.beginPath(); c.moveTo(left, y(value)); c.lineTo(width - right, y(value)); c.stroke(); c.fillStyle = color("soft"); c.fillText(number(value, digits), left - 8, y(value)); }
      c.textAlign = "center"; c.textBaseline = "alphabetic"; c.fillStyle = color("soft");
      const steps = timeSteps(data.t[first], data.t[last - 1] + data.step, Math.floor(room / 105));
      let used = -1e9;
      for (const t of steps.found) { const where = x(spot(t)); if (where - used > 70 && where > left + 20 && where < width - 30) { c.fillText(timeName(t, steps.step), where, high - 5); used = where; } }
      const wide = Math.max(1, Math.min(11, room / ((to - from) / each) * .68));
      for (let k = first - first % each; k < last; k += each) {
        const end = Math.min(k + each, data.t.length); let h = -Infinity, l = Infinity;
        for (let j = Math.max(k, 0); j < end; j++) { h = Math.max(h, data.h[j]); l = Math.min(l, data.l[j]); }
        const o = data.o[Math.max(k, 0)], close = data.c[end - 1], middle = x((k + end) / 2), shade = color(close >= o ? "gain" : "loss");
        if (middle < left) continue;
        c.globalAlpha = .62; c.strokeStyle = shade; c.fillStyle = shade; c.beginPath(); c.moveTo(middle, y(h)); c.lineTo(middle, y(l)); c.stroke();
        c.fillRect(middle - wide / 2, Math.min(y(o), y(close)), wide, Math.max(1, Math.abs(y(o) - y(close)))); c.globalAlpha = 1;
      }
      c.save(); c.beginPath(); c.rect(left, 0, room, high - bottom + 4); c.clip();
      shown = [];
      const crowded = seen.length > 160, size = crowded ? 3.2 : 5;
      for (const k of seen) {
        const x1 = x(spot(T.opened[k])), x2 = x(spot(T.closed[k])), y1 = y(T.open[k]), y2 = y(T.close[k]), good = T.net[k] >= 0, active = k === picked;
        shown.push([k, x1, y1, x2, y2]);
        if (active) for (const [level, shade] of [[T.sl[k], "loss"], [T.tp[k], "gain"]]) if (level) { c.strokeStyle = color(shade); c.setLineDash([5, 4]); c.beginPath(); c.moveTo(x1, y(level)); c.lineTo(Math.max(x2, x1 + 24), y(level)); c.stroke(); c.setLineDash([]); }
        c.strokeStyle = color(good ? "gain" : "loss"); c.lineWidth = active ? 2.4 : crowded ? 1 : 1.6; c.setLineDash(active ? [] : [3, 2]);
        c.beginPath(); c.moveTo(x1, y1); c.lineTo(x2, y2); c.stroke(); c.setLineDash([]); c.lineWidth = 1;
        const up = T.side[k] > 0 ? 1 : -1;
        c.fillStyle = color("accent"); c.strokeStyle = color("card"); if (up < 0) c.fillStyle = color("other");
        c.beginPath(); c.moveTo(x1, y1 + up); c.lineTo(x1 - size, y1 + up * (size * 1.9)); c.lineTo(x1 + size, y1 + up * (size * 1.9)); c.closePath(); c.fill(); c.stroke();
        c.fillStyle = color(good ? "gain" : "loss"); c.beginPath(); c.arc(x2, y2, size * .72, 0, 7); c.fill(); c.stroke();
      }
      c.restore();
      title.textContent = `${data.symbol}, ${lasting(data.step * each)} candles, ${day(data.t[first])} to ${day(data.t[last - 1])}, ${seen.length} of ${mine.length} trades`;
    };
    const node = canvas(380, draw, "prices with entries and exits");
    node.classList.add("drag");
    const move = (a, b) => {
      const span = Math.min(Math.max(b - a, 12), data.t.length);
      from = Math.min(Math.max(a, 0), data.t.length - span); to = from + span; node.repaint();
    };
    const show = k => {
      const index = all.findIndex(one => one.symbol === T.symbol[k]);
      if (index < 0) return;
      if (all[index] !== data) { choose(index); if (select) select.value = String(index); }
      picked = k; at = mine.indexOf(k);
      const a = spot(T.opened[k]), b = spot(T.closed[k]), room = Math.max((b - a) * .9, 30);
      move(a - room, b + room);
    };
    const step = by => { if (mine.length) show(mine[(at + by + mine.length) % mine.length]); };
    node.addEventListener("wheel", event => {
      event.preventDefault();
      const box = node.getBoundingClientRect(), share = (event.clientX - box.left - left) / (box.width - left - right), focus = from + (to - from) * share;
      const factor = Math.exp(Math.sign(event.deltaY) * .22), span = (to - from) * factor;
      move(focus - span * share, focus + span * (1 - share));
    }, { passive: false });
    let grip = null;
    node.addEventListener("pointerdown", event => { grip = [event.clientX, from, to]; node.setPointerCapture(event.pointerId); });
    node.addEventListener("pointerup", () => { grip = null; });
    node.addEventListener("dblclick", () => { picked = -1; move(0, data.t.length); });
    node.addEventListener("pointermove", event => {
      const box = node.getBoundingClientRect();
      if (grip) { const by = (grip[0] - event.clientX) / (box.width - left - right) * (grip[2] - grip[1]); move(grip[1] + by, grip[2] + by); return; }
      const px = event.clientX - box.left, py = event.clientY - box.top;
      let best = -1, near = 144;
      for (const [k, x1, y1, x2, y2] of shown) { const d = Math.min((px - x1) ** 2 + (py - y1) ** 2, (px - x2) ** 2 + (py - y2) ** 2); if (d < near) { near = d; best = k; } }
      best >= 0 ? showTip(event, tradeLines(best)) : hideTip();
    });
    node.addEventListener("pointerleave", hideTip);
    const select = all.length > 1 ? el("select", { "aria-label": "symbol", onchange: event => { choose(+event.target.value); node.repaint(); } }, all.map((one, k) => el("option", { value: k }, one.symbol))) : null;
    choose(0);
    const section = el("section", { class: "card" }, el("div", { class: "head" }, el("h2", {}, "Prices with entries and exits"), title,
      el("span", { class: "tools" }, key("accent", "buy"), key("other", "sell"), key("gain", "won"), key("loss", "lost"), select,
        el("button", { title: "the trade before", onclick: () => step(-1) }, "◀"), el("button", { title: "the next trade", onclick: () => step(1) }, "▶"),
        el("button", { onclick: () => { picked = -1; move(0, data.t.length); } }, "whole run"))), node,
      el("p", { class: "faint", style: { fontSize: "12px", marginTop: "6px" } }, "Wheel to zoom, drag to move, double click for everything. Nights and weekends without ticks take no room."));
    return { node: section, show: k => { show(k); section.scrollIntoView({ behavior: "smooth", block: "center" }); } };
  };
  const tradeLines = k => [
    `${T.side[k] > 0 ? "buy" : "sell"} ${T.lots[k]} lots ${T.symbol[k]}: ${signed(T.net[k])} ${ccy}`, `${moment(T.opened[k])} at ${T.open[k]}`,
    `${moment(T.closed[k])} at ${T.close[k]} (${words(T.reason[k])})`, `held ${lasting(T.closed[k] - T.opened[k])}, costs ${number(T.cost[k])} ${ccy}`,
  ];

  // ---- months, distribution, rolling Sharpe
  const monthsCard = () => {
    const M = P.months, largest = Math.max(...M.months_pct.flat().filter(v => v !== null).map(Math.abs), .01);
    return card("Months", "half", "return in percent", el("div", { class: "scroll" }, el("table", { class: "heat" },
      el("tr", {}, el("th", {}), MONTHS.map(name => el("th", {}, name)), el("th", {}, "year")),
      M.years.map((year, k) => el("tr", {}, el("th", { class: "name" }, String(year)),
        M.months_pct[k].map((value, m) => heatCell(value === null ? "" : signed(value, 1), value, largest, value === null ? "" : `${MONTHS[m]} ${year}: ${signed(value)} %`)),
        el("td", { class: tone(M.totals_pct[k]) }, el("b", {}, signed(M.totals_pct[k], 1))))))));
  };
  const distributionCard = () => {
    const D = P.distribution;
    if (!D.counts.length) return card("Results of trades", "half", "", el("p", { class: "faint" }, "No trade was closed."));
    const largest = Math.max(...D.counts), left = 40;
    let hover = -1;
    const draw = (c, width, high) => {
      const each = (width - left - 8) / D.counts.length, bottom = high - 22;
      c.textBaseline = "middle"; c.textAlign = "right"; c.lineWidth = 1;
      for (const value of niceSteps(0, largest, 4).found) { const y = bottom - value / largest * (bottom - 10); c.strokeStyle = color("line"); c.beginPath(); c.moveTo(left, y); c.lineTo(width - 8, y); c.stroke(); c.fillStyle = color("soft"); c.fillText(number(value, 0), left - 6, y); }
      D.counts.forEach((count, k) => {
        const tall = count / largest * (bottom - 10); c.globalAlpha = k === hover ? 1 : .8;
        c.fillStyle = color(D.edges[k] >= 0 ? "gain" : "loss"); c.fillRect(left + k * each + 1, bottom - tall, Math.max(each - 2, 1), tall);
      });
      c.globalAlpha = 1; c.fillStyle = color("soft"); c.textAlign = "center"; c.textBaseline = "alphabetic";
      const scale = niceSteps(D.edges[0], D.edges[D.edges.length - 1], Math.floor(width / 90)), span = D.edges[D.edges.length - 1] - D.edges[0];
      for (const value of scale.found) c.fillText(number(value, scale.step < 1 ? 2 : 0), left + (value - D.edges[0]) / span * (width - left - 8), high - 5);
    };
    const node = canvas(210, draw, "distribution of trade results");
    node.addEventListener("pointermove", event => {
      const box = node.getBoundingClientRect(), k = Math.floor((event.clientX - box.left - left) / (box.width - left - 8) * D.counts.length);
      if (k < 0 || k >= D.counts.length) return;
      hover = k; node.repaint(); showTip(event, [`${number(D.edges[k])} to ${number(D.edges[k + 1])} ${ccy}`, `${D.counts[k]} trades`]);
    });
    node.addEventListener("pointerleave", () => { hover = -1; node.repaint(); hideTip(); });
    return card("Results of trades", "half", `${ccy} after costs; the outermost bars hold all beyond`, node);
  };
  const rollingCard = () => {
    const R = P.rolling, chart = R.t.length > 1
      ? timeChart(210, R.t, [{ values: R.sharpe, color: "accent" }], { tip: k => [day(R.t[k]), `Sharpe ${number(R.sharpe[k])}`], text: v => number(v, 0), name: "rolling Sharpe ratio" })
      : el("p", { class: "faint" }, "Too few days.");
    return card("Rolling Sharpe", "half", `of the last ${R.days} trading days, annualised`, chart);
  };

  // ---- clock, costs, refusals, groups, drift, order of trades
  const clockCard = () => {
    const cells = new Map(P.clock.map(([d, h, n, value]) => [d * 24 + h, [n, value]])), largest = Math.max(...P.clock.map(row => Math.abs(row[3])), .01);
    const days = ["Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun"].map((name, d) => [name, d]).filter(([, d]) => d < 5 || P.clock.some(row => row[0] === d));
    return card("When trades were opened", "half", `net ${ccy} by weekday and hour, UTC`, el("div", { class: "scroll" }, el("table", { class: "heat even", style: { borderSpacing: "2px" } },
      el("tr", {}, el("th", {}), Array.from({ length: 24 }, (_, h) => el("th", {}, h % 3 ? "" : String(h)))),
      days.map(([name, d]) => el("tr", {}, el("th", { class: "name" }, name), Array.from({ length: 24 }, (_, h) => {
        const found = cells.get(d * 24 + h);
        const cell = heatCell("", found ? found[1] : null, largest, found ? `${name} ${pad(h)}:00: ${signed(found[1])} ${ccy} in ${found[0]} trades` : "", { minWidth: "12px", height: "22px", outline: "1px solid var(--line)", outlineOffset: "-1px" });
        return cell;
      }))))));
  };
  const excursionCard = () => {
    const known = T.net.map((_, k) => k).filter(k => T.mae[k] !== null && T.mfe[k] !== null);
    if (!known.length) return null;
    const wide = Math.max(...known.map(k => T.mae[k]), 1), tall = Math.max(...known.map(k => T.mfe[k]), 1), left = 58;
    let dots = [];
    const draw = (c, width, high) => {
      const x = v => left + v / wide * (width - left - 14), y = v => high - 36 - v / tall * (high - 48);
      c.textBaseline = "middle"; c.textAlign = "right"; c.lineWidth = 1;
      for (const value of niceSteps(0, tall, 4).found) { c.strokeStyle = color("line"); c.beginPath(); c.moveTo(left, y(value)); c.lineTo(width - 10, y(value)); c.stroke(); c.fillStyle = color("soft"); c.fillText(number(value, 0), left - 8, y(value)); }
      c.textAlign = "center"; c.textBaseline = "alphabetic";
      for (const value of niceSteps(0, wide, Math.floor(width / 90)).found) c.fillText(number(value, 0), x(value), high - 20);
      c.fillText("points against", left + (width - left) / 2, high - 5);
      dots = known.map(k => [k, x(T.mae[k]), y(T.mfe[k])]);
      for (const [k, px, py] of dots) { c.globalAlpha = .65; c.fillStyle = color(T.net[k] >= 0 ? "gain" : "loss"); c.beginPath(); c.arc(px, py, 3, 0, 7); c.fill(); }
      c.globalAlpha = 1;
    };
    const node = canvas(236, draw, "how far prices went against and for each trade");
    node.addEventListener("pointermove", event => {
      const box = node.getBoundingClientRect(), px = event.clientX - box.left, py = event.clientY - box.top;
      let best = -1, near = 100;
      for (const [k, x, y] of dots) { const d = (px - x) ** 2 + (py - y) ** 2; if (d < near) { near = d; best = k; } }
      best >= 0 ? showTip(event, [...tradeLines(best), `${number(T.mae[best], 0)} points against it, ${number(T.mfe[best], 0)} for it`]) : hideTip();
    });
    node.addEventListener("pointerleave", hideTip);
    return card("How far prices went", "half", el("span", {}, "points for each trade, over points against it ", key("gain", "won"), " ", key("loss", "lost")), node);
  };
  const costsCard = () => {
    const C = P.costs, row = (name, value) => [name, value, `${signed(value)} ${ccy}`, value >= 0 ? "gain" : "loss"];
    return card("Where the money went", "half", "closed trades", bars([row("at mid prices", C.gross_ccy), row("spread", C.spread_ccy), row("slippage", C.slippage_ccy), row("commission", C.commission_ccy), row("swap", C.swap_ccy), row("net", C.net_ccy)]));
  };
  const refusalsCard = () => {
    const rows = P.refusals.map(r => [`${words(r.reason)}${r.by === "risk" ? "" : " (broker)"}`, r.count, r.observed === null ? number(r.count, 0) : `${number(r.count, 0)} · saw ${number(r.observed, 1)}, limit ${number(r.limit, 1)}`, r.by === "risk" ? "accent" : "other"]);
    return card("Refusals by reason", "half", "suggestions that did not become trades", rows.length ? bars(rows) : el("p", { class: "faint" }, "Nothing was refused."));
  };
  const GROUPS = { symbol: "by symbol", side: "by side", session: "by session", regime: "by volatility of the hour", reason: "by reason of closing" };
  const groupsCard = () => {
    const rows = [];
    for (const [kind, groups] of Object.entries(P.groups)) groups.forEach((g, k) => rows.push([k ? "" : GROUPS[kind] || kind, words(g.name) || NONE, number(g.trades, 0), toned(g.net_ccy), g.win_rate === null ? NONE : percent(g.win_rate * 100), number(g.profit_factor), toned(g.expectancy_ccy), number(g.cost_ccy)]));
    return card("Breakdown", "", "each trade is in one group of each kind; sessions and hours are those of the opening", table(["", "", "trades", `net ${ccy}`, "won", "profit factor", "a trade", "costs"], rows, new Set([2, 3, 4, 5, 6, 7])));
  };
  const driftCards = () => P.drift.map(D => {
    const shade = value => value > .25 ? [-1, Math.min(value, 1)] : value > .1 ? [-1, value] : [1, .08];
    return card(P.drift.length > 1 ? `Feature drift, ${D.symbol}` : "Feature drift", "", `population stability index against the first part of the run; above 0.25 a feature is not what it was. The ${D.features.length} of ${D.all} features that moved most`,
      el("div", { class: "scroll" }, el("table", { class: "heat" }, el("tr", {}, el("th", {}), D.parts.map(t => el("th", {}, `from ${day(t).slice(5)}`))),
        D.features.map((name, k) => el("tr", {}, el("th", { class: "name", title: name }, name), D.psi[k].map(value => { const [sign, size] = shade(value); return heatCell(number(value), sign * size, 1, `${name}: ${number(value, 3)}`); }))))));
  });
  const orderCard = () => {
    const O = P.order;
    if (!O) return null;
    const rows = O.percentiles.map((p, k) => [`${p} %`, O.max_drawdown_pct[k], percent(O.max_drawdown_pct[k]), "accent"]);
    return card("Luck of the order", "half", `deepest drawdown of the same trades in ${number(O.runs, 0)} other orders`, bars([...rows, ["as it was", O.observed_drawdown_pct, percent(O.observed_drawdown_pct), "loss"]]),
      el("p", { class: "soft", style: { marginTop: "9px", fontSize: "12.5px" } }, `${percent(O.share_deeper * 100, 0)} of the orders fall at least as deep as the real one.`));
  };
  const figuresCard = () => {
    const t = S.trades;
    return card("All figures", "", "", el("div", { class: "columns" },
      pairs("Growth", [["return", percent(S.return_pct, 2)], ["a year (CAGR)", percent(S.cagr_pct, 2)], ["deepest drawdown", percent(S.max_drawdown_pct, 2)], ["its length", `${number(S.max_drawdown_days, 1)} days`], ["longest drawdown", `${number(S.longest_drawdown_days, 1)} days`], ["worst day in 20 (VaR 95)", percent(S.var_95_pct, 2)], ["mean of those (CVaR 95)", percent(S.cvar_95_pct, 2)]]),
      pairs("Ratios", [["Sharpe", number(S.sharpe)], ["Sortino", number(S.sortino)], ["Calmar", number(S.calmar)], ["profit factor", number(t.profit_factor)]]),
      pairs("Is it skill", [["p value of the Sharpe ratio", number(S.sharpe_p, 4)], ["probability that it is above 0", S.probabilistic_sharpe === null ? NONE : percent(S.probabilistic_sharpe * 100)], [`… deflated for ${S.trials} trial${S.trials > 1 ? "s" : ""}`, S.deflated_sharpe === null ? NONE : percent(S.deflated_sharpe * 100)], ["days that would prove it", number(S.needed_days, 0)]]),
      pairs("Trades", [["closed", number(t.trades, 0)], ["still open", number(P.open.length, 0)], ["won", t.win_rate === null ? NONE : percent(t.win_rate * 100)], ["a trade", `${number(t.expectancy_ccy)} ${ccy}`], ["mean gain", `${number(t.average_win_ccy)} ${ccy}`], ["mean loss", `${number(t.average_loss_ccy)} ${ccy}`], ["losses in a row", number(t.longest_losing_streak, 0)], ["time in the market", percent(S.exposure_share * 100)], ["turnover a year", S.turnover_per_year === null ? NONE : `${number(S.turnover_per_year, 0)} × equity`]]),
      pairs("Data", [["ticks", number(F.ticks, 0)], ["feature rows", number(F.rows, 0)], ...P.feeds.map(f => [`mean spread ${f.symbol}`, `${number(f.mean_spread_points, 1)} points`]), ...Object.entries(P.kept_back).map(([rule, count]) => [`kept back: ${words(rule)}`, number(count, 0)]), ...(P.gap ? [["longest gap (open market)", `${number(P.gap[3], 1)} h, ${day(P.gap[1])}`]] : [])]),
      pairs("Messages", Object.entries(P.counts).map(([name, count]) => [name, number(count, 0)]))));
  };

  // ---- the list of trades
  const tradesCard = show => {
    const names = [["opened", T.opened, moment], ["symbol", T.symbol, v => v], ["side", T.side, v => v > 0 ? "buy" : "sell"], ["lots", T.lots, v => number(v)], ["open", T.open, String], ["close", T.close, String], ["held", T.closed.map((v, k) => v - T.opened[k]), lasting], ["reason", T.reason, words], ["costs", T.cost, v => number(v)], ["against, points", T.mae, v => number(v, 0)], ["for, points", T.mfe, v => number(v, 0)], [`net ${ccy}`, T.net, v => signed(v)]];
    const numeric = new Set([3, 4, 5, 6, 8, 9, 10, 11]);
    let order = T.net.map((_, k) => k), by = 0, down = false, page = 0;
    const size = 15, body = el("tbody"), where = el("span", { class: "soft" });
    const fill = () => {
      const pages = Math.max(1, Math.ceil(order.length / size)); page = (page + pages) % pages;
      where.textContent = `${order.length ? page * size + 1 : 0}–${Math.min((page + 1) * size, order.length)} of ${number(T.all, 0)}`;
      body.replaceChildren(...order.slice(page * size, (page + 1) * size).map(k => el("tr", { class: "pick", title: "show it on the price chart", onclick: () => show(k) },
        names.map(([, values, text], column) => el("td", { class: (numeric.has(column) ? "num " : "") + (column === 11 ? tone(values[k]) : "") }, text(values[k]))))));
    };
    const sort = column => {
      down = column === by ? !down : false; by = column;
      const values = names[column][1];
      order.sort((a, b) => (values[a] < values[b] ? -1 : values[a] > values[b] ? 1 : a - b) * (down ? -1 : 1)); page = 0; fill();
    };
    fill();
    const section = card("Trades", "", T.all > T.net.length ? `the ${number(T.net.length, 0)} largest of ${number(T.all, 0)}; all of them are in trades.parquet` : "click one to see it on the chart",
      el("div", { class: "scroll" }, el("table", {}, el("thead", {}, el("tr", {}, names.map(([name], k) => el("th", { class: `sort ${numeric.has(k) ? "num" : ""}`, onclick: () => sort(k) }, name)))), body)));
    section.querySelector(".head").append(el("span", { class: "tools" }, where, el("button", { onclick: () => { page--; fill(); } }, "◀"), el("button", { onclick: () => { page++; fill(); } }, "▶")));
    return section;
  };
  const openCard = () => P.open.length ? card("Still open", "", "floating, as the run ended", table(["opened", "symbol", "side", "lots", "open", "stop", "target", `profit ${ccy}`, "swap", "commission"],
    P.open.map(o => [moment(o.opened), o.symbol, o.side, number(o.volume_lots), String(o.price_open), o.sl ? String(o.sl) : NONE, o.tp ? String(o.tp) : NONE, toned(o.profit_ccy), number(o.swap_ccy), number(o.commission_ccy)]), new Set([3, 4, 5, 6, 7, 8, 9]))) : null;

  const prices = priceCard();
  return [
    el("header", {}, el("div", {}, el("h1", {}, `${words(F.title)} on ${F.symbols.join(", ")}`),
      el("p", { class: "soft" }, `${day(F.from)} to ${day(F.to)} · ${number(F.ticks, 0)} ticks · ${F.source}`)), themeButton()),
    F.notes.map((note, k) => el("p", { class: k === 0 && P.halts.length ? "note loud" : "note" }, note)),
    tiles(),
    el("div", { class: "grid" }, equityCard(), prices.node, monthsCard(), distributionCard(), rollingCard(), orderCard(), costsCard(), clockCard(), refusalsCard(), excursionCard(), groupsCard(), driftCards(), figuresCard(), tradesCard(prices.show), openCard(),
      el("section", { class: "card" }, el("details", {}, el("summary", {}, "The configuration of this run"), el("pre", {}, F.config)))),
    el("footer", {}, `Tickwire ${F.code_version} · made ${F.made_at} · code ${F.source_sha256.slice(0, 16)} · data ${F.data_sha256.slice(0, 16)} · times are UTC · simulated trades say little about those to come`),
  ];
};
