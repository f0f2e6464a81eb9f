// The page of two runs side by side.

const comparePage = P => {
  const A = P.a, B = P.b, times = P.equity.t;
  const key = (shade, text) => el("span", { class: "key" }, el("i", { style: { background: `var(--${shade})` } }), text);
  const chart = timeChart(320, times, [{ values: P.equity.a, color: "accent" }, { values: P.equity.b, color: "other" }], {
    tip: k => [moment(times[k]) + " UTC", `${A.name}: ${signed(P.equity.a[k])} %`, `${B.name}: ${signed(P.equity.b[k])} %`], text: v => number(v, 1) + " %", name: "both equity curves",
  });
  const value = (text, unit) => text === null ? NONE : number(text, unit === "count" ? 0 : 3) + (unit && unit !== "count" ? " " + unit : "");
  const metrics = P.metrics.map(m => [m.name, value(m.a, m.unit), value(m.b, m.unit), { text: m.difference === null ? NONE : signed(m.difference, m.unit === "count" ? 0 : 3), tone: m.better === 0 || !m.difference ? "" : m.difference * m.better > 0 ? "gain" : "loss" }]);
  const row = t => [moment(t.opened), t.symbol, t.side, number(t.lots), String(t.open), String(t.close), words(t.reason), toned(t.net)];
  const names = ["opened", "symbol", "side", "lots", "open", "close", "reason", "net"], numeric = new Set([3, 4, 5, 7]);
  const list = (title, found) => card(title, "half", found.all > found.trades.length ? `the first ${found.trades.length} of ${number(found.all, 0)}` : `${number(found.all, 0)}`,
    found.trades.length ? table(names, found.trades.map(row), numeric) : el("p", { class: "faint" }, "None."));
  const changed = P.changed;
  return [
    el("header", {}, el("div", {}, el("h1", {}, `${A.name} and ${B.name}`), el("p", { class: "soft" }, `${words(A.title)} on ${A.symbols.join(", ")} · ${words(B.title)} on ${B.symbols.join(", ")}`)), themeButton()),
    P.notes.map(note => el("p", { class: "note" }, note)),
    el("div", { class: "grid" },
      card("Equity", "", el("span", {}, key("accent", A.name), " ", key("other", B.name), " in percent of the start"), chart),
      card("Figures", "", "", table(["", A.name, B.name, "difference"], metrics, new Set([1, 2, 3]))),
      list(`Only in ${A.name}`, P.only_a), list(`Only in ${B.name}`, P.only_b),
      card("Opened alike, ended differently", "", changed.all > changed.trades.length ? `the first ${changed.trades.length} of ${number(changed.all, 0)}` : `${number(changed.all, 0)}; ${number(P.same, 0)} trades are the same in both`,
        changed.trades.length ? table(["opened", "symbol", "side", `lots ${A.name}`, `lots ${B.name}`, `reason ${A.name}`, `reason ${B.name}`, `net ${A.name}`, `net ${B.name}`], changed.trades.map(([a, b]) => [moment(a.opened), a.symbol, a.side, number(a.lots), number(b.lots), words(a.reason), words(b.reason), toned(a.net), toned(b.net)]), new Set([3, 4, 7, 8])) : el("p", { class: "faint" }, "None."))),
    el("footer", {}, `A: ${A.folder} · B: ${B.folder} · times are UTC`),
  ];
};
