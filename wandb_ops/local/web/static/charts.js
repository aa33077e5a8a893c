// Draws every numeric key of the runs that the page names: one chart a key, one line a run.
"use strict";

const SVG = "http://www.w3.org/2000/svg";
const WIDTH = 440, HEIGHT = 240, LEFT = 50, RIGHT = 8, TOP = 10, BOTTOM = 24;
const view = { x: "step", smooth: 0, log: false };

function node(name, attributes = {}, text = null) {
  const made = document.createElementNS(SVG, name);
  for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
  if (text !== null) made.textContent = text;
  return made;
}

function html(name, className = "", text = null) {
  const made = document.createElement(name);
  if (className) made.className = className;
  if (text !== null) made.textContent = text;
  return made;
}

function short(value) {
  if (value === null || value === undefined) return "–";
  const size = Math.abs(value);
  if (size !== 0 && (size < 1e-3 || size >= 1e6)) return value.toExponential(2).replace("e+", "e");
  return String(Number(value.toPrecision(5)));
}

// Round steps (1, 2, 5 times a power of ten) that cut [low, high] into about `count` parts.
function ticks(low, high, count) {
  const rough = (high - low) / count, power = 10 ** Math.floor(Math.log10(rough)), rest = rough / power;
  const step = power * (rest > 7 ? 10 : rest > 3.2 ? 5 : rest > 1.5 ? 2 : 1);
  const found = [];
  for (let i = Math.ceil(low / step - 1e-9); i * step <= high + step * 1e-9; i += 1) found.push(Number((i * step).toPrecision(12)));
  return found;
}

// Exponential moving average with bias correction; a gap stays a gap.
function smoothed(values, weight) {
  let last = 0, mass = 0;
  return values.map((value) => {
    if (value === null) return null;
    last = last * weight + value * (1 - weight);
    mass = mass * weight + (1 - weight);
    return last / mass;
  });
}

function pointsOf(curve) {
  const xs = view.x === "global_step" && curve.global_step.some((x) => x !== null) ? curve.global_step : curve[view.x];
  const order = xs.map((x, i) => i).filter((i) => xs[i] !== null).sort((a, b) => xs[a] - xs[b]);
  const raw = order.map((i) => curve.y[i]);
  return { x: order.map((i) => xs[i]), raw, y: view.smooth > 0 ? smoothed(raw, view.smooth) : raw };
}

function scale(low, high, from, to, log) {
  const f = log ? Math.log10 : (v) => v;
  const a = f(low), b = f(high);
  return (value) => from + ((f(value) - a) / (b - a || 1)) * (to - from);
}

function pathOf(xs, ys, sx, sy, usable) {
  let text = "", pen = "M";
  xs.forEach((x, i) => {
    if (!usable(ys[i])) { pen = "M"; return; }
    text += `${pen}${sx(x).toFixed(1)} ${sy(ys[i]).toFixed(1)}`;
    pen = "L";
  });
  return text;
}

function draw(card, lines) {
  card.querySelector("svg")?.remove();
  const usable = (v) => v !== null && (!view.log || v > 0);
  const drawn = lines.map((line) => ({ ...line, ...pointsOf(line.curve) }));
  const xs = drawn.flatMap((line) => line.x);
  const ys = drawn.flatMap((line) => line.y.filter(usable));
  const svg = node("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img" });
  card.append(svg);
  if (!ys.length) {
    svg.append(node("text", { x: WIDTH / 2, y: HEIGHT / 2, "text-anchor": "middle" }, "no finite value to draw"));
    return;
  }
  const extent = (values) => values.reduce(([a, b], v) => [Math.min(a, v), Math.max(b, v)], [Infinity, -Infinity]);
  let [x0, x1] = extent(xs), [y0, y1] = extent(ys);
  if (x0 === x1) { x0 -= 1; x1 += 1; }
  if (y0 === y1) { const pad = Math.abs(y0) * 0.1 || 1; y0 = view.log ? y0 / 2 : y0 - pad; y1 = view.log ? y1 * 2 : y1 + pad; }
  else if (!view.log) { const pad = (y1 - y0) * 0.05; y0 -= pad; y1 += pad; }
  const sx = scale(x0, x1, LEFT, WIDTH - RIGHT, false), sy = scale(y0, y1, HEIGHT - BOTTOM, TOP, view.log);
  let marks = ticks(y0, y1, 5);
  if (view.log) {
    marks = [];
    for (let p = Math.floor(Math.log10(y0)); p <= Math.log10(y1); p += 1) for (const f of [1, 2, 5]) marks.push(f * 10 ** p);
    marks = marks.filter((m) => m >= y0 && m <= y1);
    if (marks.length > 6) marks = marks.filter((m, i) => i % Math.ceil(marks.length / 5) === 0);
  }
  for (const mark of marks) {
    svg.append(node("line", { class: "tick", x1: LEFT, x2: WIDTH - RIGHT, y1: sy(mark), y2: sy(mark) }));
    svg.append(node("text", { x: LEFT - 6, y: sy(mark) + 4, "text-anchor": "end" }, short(mark)));
  }
  for (const mark of ticks(x0, x1, 5)) svg.append(node("text", { x: sx(mark), y: HEIGHT - 8, "text-anchor": "middle" }, short(mark)));
  for (const line of drawn) {
    const group = node("g", { class: line.color });
    if (view.smooth > 0) group.append(node("path", { class: "raw", d: pathOf(line.x, line.raw, sx, sy, usable) }));
    group.append(node("path", { d: pathOf(line.x, line.y, sx, sy, usable) }));
    line.x.forEach((x, i) => {  // a point with no neighbour has no line
      if (usable(line.y[i]) && !usable(line.y[i - 1] ?? null) && !usable(line.y[i + 1] ?? null)) group.append(node("circle", { cx: sx(x), cy: sy(line.y[i]), r: 2.4 }));
    });
    svg.append(group);
  }
  hover(card, svg, drawn, sx, sy, usable);
}

function nearest(xs, wanted) {
  let low = 0, high = xs.length - 1;
  while (high - low > 1) { const mid = (low + high) >> 1; if (xs[mid] < wanted) low = mid; else high = mid; }
  return Math.abs(xs[low] - wanted) <= Math.abs(xs[high] - wanted) ? low : high;
}

function hover(card, svg, drawn, sx, sy, usable) {
  const cursor = node("line", { class: "cursor", y1: TOP, y2: HEIGHT - BOTTOM, visibility: "hidden" });
  svg.append(cursor);
  let tip = null, dots = [];
  const leave = () => { tip?.remove(); tip = null; dots.forEach((d) => d.remove()); dots = []; cursor.setAttribute("visibility", "hidden"); };
  svg.addEventListener("pointerleave", leave);
  svg.addEventListener("pointermove", (event) => {
    leave();
    const box = svg.getBoundingClientRect(), at = ((event.clientX - box.left) / box.width) * WIDTH;
    const some = drawn.map((line) => ({ line, i: nearest(line.x, line.x.length ? invert(line.x, sx, at) : 0) })).filter(({ line, i }) => usable(line.y[i] ?? null));
    if (!some.length) return;
    const x = some[0].line.x[some[0].i];
    cursor.setAttribute("x1", sx(x)); cursor.setAttribute("x2", sx(x)); cursor.setAttribute("visibility", "visible");
    tip = html("div", "tip");
    tip.append(html("div", "dim", `${view.x} ${short(x)}`));
    for (const { line, i } of some) {
      const row = html("div"); row.append(html("i", `dot ${line.color}`), line.name, html("b", "", short(line.raw[i]))); tip.append(row);
      const dot = node("circle", { class: line.color, cx: sx(line.x[i]), cy: sy(line.y[i]), r: 3.2 }); svg.append(dot); dots.push(dot);
    }
    card.append(tip);
    const left = event.clientX - card.getBoundingClientRect().left;
    tip.style.top = "34px";
    tip.style.left = left > card.clientWidth / 2 ? `${left - tip.offsetWidth - 14}px` : `${left + 14}px`;
  });
}

function invert(xs, sx, at) {
  const a = xs[0], b = xs[xs.length - 1], pa = sx(a), pb = sx(b);
  return pb === pa ? a : a + ((at - pa) / (pb - pa)) * (b - a);
}

function layout(root, runs) {
  const keys = new Map();
  runs.forEach((run, index) => {
    for (const [key, curve] of Object.entries(run.curves)) {
      if (!keys.has(key)) keys.set(key, []);
      keys.get(key).push({ name: run.name, color: `c${index % 10}`, curve });
    }
  });
  const groups = new Map();
  for (const key of [...keys.keys()].sort()) {
    const cut = key.indexOf("/"), group = cut > 0 ? key.slice(0, cut) : "";
    if (!groups.has(group)) groups.set(group, []);
    groups.get(group).push(key);
  }
  const cards = [];
  root.replaceChildren();
  if (!keys.size) root.append(html("p", "dim", "No numbers have been logged yet."));
  for (const [group, members] of groups) {
    if (group) root.append(html("h2", "group", group));
    const grid = html("div", "grid");
    for (const key of members) {
      const card = html("figure", "card chart");
      card.dataset.key = key;
      card.append(html("h3", "", key));
      grid.append(card);
      cards.push([card, keys.get(key)]);
    }
    root.append(grid);
  }
  const thinned = runs.filter((run) => run.shown < run.rows);
  if (thinned.length) root.append(html("p", "dim", `${thinned.length} of ${runs.length} runs are drawn from evenly spread rows; exports hold every row.`));
  return cards;
}

async function start() {
  const root = document.querySelector(".charts"), controls = document.querySelector(".controls");
  if (root.dataset.x) { view.x = root.dataset.x; controls.querySelector("[name=x]").value = view.x; }
  const answer = await fetch(root.dataset.source);
  if (!answer.ok) { root.replaceChildren(html("p", "wrong", `The history cannot be read (${answer.status}).`)); return; }
  const { runs } = await answer.json();
  const cards = layout(root, runs);
  const redraw = () => cards.forEach(([card, lines]) => draw(card, lines));
  controls.hidden = cards.length === 0;
  controls.addEventListener("input", (event) => {
    const { name, value, checked } = event.target;
    view[name] = name === "log" ? checked : name === "smooth" ? Number(value) : value;
    redraw();
  });
  redraw();
  root.dataset.ready = "yes";
}

start();
