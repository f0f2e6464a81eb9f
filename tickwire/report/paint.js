"use strict";
// Elements, numbers as text, and canvases that redraw themselves. Text only ever goes in as text.

const el = (tag, attributes, ...children) => {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "style") Object.assign(node.style, value);
    else if (value !== undefined && value !== null) node.setAttribute(name, value);
  }
  for (const child of children.flat(Infinity)) if (child !== null && child !== undefined) node.append(child);
  return node;
};
const card = (title, size, hint, ...children) => el("section", { class: `card ${size}` },
  el("div", { class: "head" }, el("h2", {}, title), hint ? el("span", { class: "soft" }, hint) : null), ...children);

const NONE = "–";
const grouped = (value, digits) => (Math.abs(value) < .5 * 10 ** -digits ? 0 : value).toLocaleString("en-US", { minimumFractionDigits: digits, maximumFractionDigits: digits });
const number = (value, digits = 2) => value === null || value === undefined || !isFinite(value) ? NONE : grouped(value, digits).replace("-", "−");
const percent = (value, digits = 1) => value === null || value === undefined ? NONE : number(value, digits) + " %";
const signed = (value, digits = 2) => value === null || value === undefined ? NONE : (value > 0 ? "+" : "") + number(value, digits);
const pad = value => String(value).padStart(2, "0");
const day = seconds => { const d = new Date(seconds * 1000); return `${d.getUTCFullYear()}-${pad(d.getUTCMonth() + 1)}-${pad(d.getUTCDate())}`; };
const clock = seconds => { const d = new Date(seconds * 1000); return `${pad(d.getUTCHours())}:${pad(d.getUTCMinutes())}`; };
const moment = seconds => `${day(seconds)} ${clock(seconds)}`;
const lasting = s => s < 120 ? `${Math.round(s)} s` : s < 7200 ? `${Math.round(s / 60)} min` : s < 172800 ? `${(s / 3600).toFixed(1)} h` : `${(s / 86400).toFixed(1)} d`;
const tone = value => value > 0 ? "gain" : value < 0 ? "loss" : "";
const words = text => text.replaceAll("_", " ");
const color = name => getComputedStyle(document.documentElement).getPropertyValue("--" + name).trim();

const tip = el("div", { id: "tip" });
const showTip = (event, rows) => {
  tip.replaceChildren(...rows.map(row => el("div", {}, row)));
  tip.style.display = "block";
  const width = tip.offsetWidth, height = tip.offsetHeight;
  tip.style.left = Math.min(event.clientX + 16, innerWidth - width - 8) + "px";
  tip.style.top = Math.max(8, Math.min(event.clientY - height / 2, innerHeight - height - 8)) + "px";
};
const hideTip = () => { tip.style.display = "none"; };

const canvases = [];
const repaintAll = () => canvases.forEach(repaint => repaint());
// A canvas of a fixed height; draw(context, width, height) paints it from scratch.
const canvas = (height, draw, name) => {
  const node = el("canvas", { role: "img", "aria-label": name || "chart", style: { height: height + "px" } });
  const repaint = () => {
    const width = node.clientWidth;
    if (!width) return;
    const scale = window.devicePixelRatio || 1;
    node.width = Math.round(width * scale); node.height = Math.round(height * scale);
    const context = node.getContext("2d");
    context.scale(scale, scale);
    context.font = '11.5px system-ui, -apple-system, "Segoe UI", Roboto, "Noto Sans", sans-serif';
    context.lineJoin = "round";
    draw(context, width, height);
  };
  node.repaint = repaint;
  canvases.push(repaint);
  new ResizeObserver(repaint).observe(node);
  return node;
};

const niceSteps = (low, high, count) => {
  const raw = Math.max(high - low, 1e-12) / Math.max(count, 1), power = 10 ** Math.floor(Math.log10(raw));
  const step = [1, 2, 2.5, 5, 10].map(m => m * power).find(s => s >= raw);
  const found = [];
  for (let k = Math.ceil(low / step - 1e-9); k * step <= high + step * 1e-9; k++) found.push(k * step);
  return { step, found };
};
const MONTHS = ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
const timeName = (seconds, step) => {
  const d = new Date(seconds * 1000);
  if (step < 86400) return clock(seconds) === "00:00" ? `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}` : clock(seconds);
  return step < 27 * 86400 ? `${d.getUTCDate()} ${MONTHS[d.getUTCMonth()]}` : step < 300 * 86400 ? `${MONTHS[d.getUTCMonth()]} ${String(d.getUTCFullYear()).slice(2)}` : String(d.getUTCFullYear());
};
const TIME_STEPS = [60, 300, 900, 1800, 3600, 7200, 14400, 28800, 86400, 172800, 604800, 1209600];
const timeSteps = (from, to, count) => {
  const raw = (to - from) / Math.max(count, 1), step = TIME_STEPS.find(s => s >= raw);
  const found = [];
  if (step) { for (let t = Math.ceil(from / step) * step; t <= to; t += step) found.push(t); return { step, found }; }
  const months = Math.ceil(raw / (30.4 * 86400)), d = new Date(from * 1000);
  let month = d.getUTCFullYear() * 12 + d.getUTCMonth() + 1;
  month = Math.ceil(month / months) * months;
  for (;; month += months) { const t = Date.UTC(Math.floor(month / 12), month % 12, 1) / 1000; if (t > to) break; found.push(t); }
  return { step: months * 30 * 86400, found };
};

// Lines over time with axes; pieces: {values, color, fill, width}; marks: [[time, text]].
const timeChart = (height, times, pieces, options = {}) => {
  const left = 62, right = 10, top = 8, bottom = 22;
  let hover = null, scaleX = null;
  const draw = (c, width, high) => {
    const from = times[0], to = Math.max(times[times.length - 1], from + 1);
    let low = options.low ?? Infinity, top_ = options.high ?? -Infinity;
    for (const piece of pieces) for (const value of piece.values) if (value !== null) { low = Math.min(low, value); top_ = Math.max(top_, value); }
    if (!isFinite(low)) return;
    if (top_ - low < 1e-9) { low -= 1; top_ += 1; }
    const margin = (top_ - low) * .06;
    if (options.low === undefined) low -= margin;
    if (options.high === undefined) top_ += margin;
    const x = t => left + (t - from) / (to - from) * (width - left - right);
    const y = v => top + (top_ - v) / (top_ - low) * (high - top - bottom);
    scaleX = { from, to, width };
    const rows = niceSteps(low, top_, Math.max(2, Math.floor(high / 48)));
    c.textBaseline = "middle"; c.textAlign = "right"; c.lineWidth = 1;
    for (const value of rows.found) {
      c.strokeStyle = color("line"); c.beginPath(); c.moveTo(left, y(value)); c.lineTo(width - right, y(value)); c.stroke();
      c.fillStyle = color("soft"); c.fillText((options.text || (v => number(v, rows.step < 1 ? 1 : 0)))(value), left - 8, y(value));
    }
    if (options.axis !== false) {
      c.textAlign = "center"; c.textBaseline = "alphabetic";
      const columns = timeSteps(from, to, Math.floor((width - left) / 90));
      for (const t of columns.found) { c.fillStyle = color("soft"); if (x(t) > left + 14 && x(t) < width - 24) c.fillText(timeName(t, columns.step), x(t), high - 5); }
    }
    if (low < 0 && top_ > 0) { c.strokeStyle = color("faint"); c.beginPath(); c.moveTo(left, y(0)); c.lineTo(width - right, y(0)); c.stroke(); }
    for (const piece of pieces) {
      c.strokeStyle = color(piece.color); c.lineWidth = piece.width || 1.6;
      if (piece.dash) c.setLineDash(piece.dash);
      c.beginPath();
      let open = false;
      times.forEach((t, k) => {
        const value = piece.values[k];
        if (value === null) { open = false; return; }
        if (open && piece.steps) c.lineTo(x(t), y(piece.values[k - 1]));
        open ? c.lineTo(x(t), y(value)) : c.moveTo(x(t), y(value));
        open = true;
      });
      c.stroke(); c.setLineDash([]);
      if (piece.fill) {
        const base = y(Math.min(Math.max(piece.base ?? low, low), top_));
        c.lineTo(x(times[times.length - 1]), base); c.lineTo(x(times[0]), base); c.closePath();
        c.fillStyle = color(piece.fill); c.fill();
      }
    }
    for (const [t, text] of options.marks || []) {
      c.strokeStyle = color("loss"); c.lineWidth = 1; c.setLineDash([4, 3]);
      c.beginPath(); c.moveTo(x(t), top); c.lineTo(x(t), high - bottom); c.stroke(); c.setLineDash([]);
      c.fillStyle = color("loss"); c.textBaseline = "top"; c.textAlign = x(t) > width / 2 ? "right" : "left";
      c.fillText(text, x(t) + (x(t) > width / 2 ? -5 : 5), top);
    }
    if (hover !== null) {
      c.strokeStyle = color("faint"); c.lineWidth = 1; c.beginPath(); c.moveTo(x(times[hover]), top); c.lineTo(x(times[hover]), high - bottom); c.stroke();
      for (const piece of pieces) if (piece.values[hover] !== null) { c.fillStyle = color(piece.color); c.beginPath(); c.arc(x(times[hover]), y(piece.values[hover]), 3, 0, 7); c.fill(); }
    }
  };
  const node = canvas(height, draw, options.name);
  const at = k => { if (k !== hover) { hover = k; node.repaint(); (options.partners || []).forEach(partner => partner.follow(k)); } };
  node.follow = k => { hover = k; node.repaint(); };
  node.addEventListener("pointermove", event => {
    if (!scaleX) return;
    const box = node.getBoundingClientRect();
    const t = scaleX.from + (event.clientX - box.left - left) / (scaleX.width - left - right) * (scaleX.to - scaleX.from);
    at(Math.max(0, Math.min(times.length - 1, place(times, t))));
    showTip(event, options.tip(hover));
  });
  node.addEventListener("pointerleave", () => { at(null); hideTip(); });
  return node;
};
// The place of the last time at or before t.
const place = (times, t) => {
  let low = 0, high = times.length;
  while (low < high) { const middle = (low + high) >> 1; times[middle] <= t ? low = middle + 1 : high = middle; }
  return low - 1;
};

// Green above zero, red below, stronger the further; as a background for a cell.
const heat = (value, largest) => {
  if (value === null || !largest) return "transparent";
  const share = Math.min(Math.abs(value) / largest, 1) * .62 + (value ? .06 : 0);
  return `color-mix(in srgb, ${color(value >= 0 ? "gain" : "loss")} ${Math.round(share * 100)}%, transparent)`;
};
const heats = [];
const heatCell = (text, value, largest, title, style) => {
  const cell = el("td", { title, style }, text);
  const paint = () => { cell.style.background = heat(value, largest); };
  heats.push(paint); paint();
  return cell;
};

// Horizontal bars around zero: rows of [name, value, text, tone].
const bars = rows => {
  const low = Math.min(0, ...rows.map(row => row[1])), high = Math.max(0, ...rows.map(row => row[1])), all = high - low || 1;
  return el("div", { class: "bars" }, rows.map(([name, value, text, shade]) => [
    el("span", {}, name),
    el("div", { class: "track" },
      el("div", { class: "bar", style: { background: `var(--${shade})`, left: (Math.min(value, 0) - low) / all * 100 + "%", width: Math.abs(value) / all * 100 + "%" } }),
      low < 0 && high > 0 ? el("div", { class: "zero", style: { left: -low / all * 100 + "%" } }) : null),
    el("span", { class: "num" }, text)]));
};

const table = (names, rows, numeric) => el("div", { class: "scroll" }, el("table", {},
  el("thead", {}, el("tr", {}, names.map((name, k) => el("th", { class: numeric.has(k) ? "num" : "" }, name)))),
  el("tbody", {}, rows.map(row => el("tr", {}, row.map((cell, k) => el("td", { class: (numeric.has(k) ? "num " : "") + (cell && cell.tone || "") }, cell && cell.text !== undefined ? cell.text : cell)))))));
const toned = (value, digits = 2) => ({ text: signed(value, digits), tone: tone(value) });
const pairs = (title, rows) => el("div", {}, el("h3", {}, title), rows.map(([name, value]) => el("div", { class: "pair" }, el("span", {}, name), el("span", {}, value))));
