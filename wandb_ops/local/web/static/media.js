// Shows what a run logged beside numbers: one card a key, a slider over its steps. Uses charts.js's helpers.
"use strict";

const CARDS = 24, BLOCK = 24, BANDS = 48, LEVELS = 12, IMAGES_SHOWN = 16, ROWS_SHOWN = 100;
const TEXT_SHOWN = 20000, TABLE_BYTES = 5e6;
const KINDS = [
  ["images", "Images"], ["video", "Videos"], ["audio", "Audio"], ["histogram", "Histograms"], ["text", "Text"],
  ["table", "Tables"], ["html", "HTML"], ["other", "Other values"],
];

function address(path) {
  return document.querySelector(".media").dataset.files + String(path).split("/").map(encodeURIComponent).join("/");
}

function download(path) {
  const link = html("a", "", String(path).split("/").pop());
  link.href = address(path);
  return link;
}

function missing(element) {
  element.addEventListener("error", () => element.replaceWith(html("p", "dim", "The file is not here (yet).")));
  return element;
}

function clipped(text) {
  if (text.length <= TEXT_SHOWN) return text;
  return `${text.slice(0, TEXT_SHOWN)}\n… ${text.length - TEXT_SHOWN} more characters; exports hold them all.`;
}

function reading(text, name) {
  const made = html("pre", "said", clipped(text));
  made.tabIndex = 0;  // so that keys can scroll it
  made.setAttribute("role", "region");
  made.setAttribute("aria-label", name);
  return made;
}

function pictures(value, name) {
  const paths = value.filenames ?? [value.path], captions = value.captions || [value.caption];
  const box = html("div", "images");
  const add = (from, to) => paths.slice(from, to).forEach((path, i) => {
    const caption = captions[from + i] || "", one = html("div");
    const image = missing(html("img"));
    image.alt = caption ? `${name}: ${caption}` : name;
    image.src = address(path);
    one.append(image);
    if (caption) one.append(html("p", "dim", caption));
    box.append(one);
  });
  add(0, IMAGES_SHOWN);
  if (paths.length > IMAGES_SHOWN) {
    const more = html("button", "", `Show all ${paths.length}`);
    more.addEventListener("click", () => { more.remove(); add(IMAGES_SHOWN, paths.length); });
    box.append(more);
  }
  return [box];
}

function players(tag, clips, captions, name) {
  return clips.flatMap((clip, i) => {
    const player = missing(html(tag)), caption = captions?.[i] || clip.caption || "";
    player.controls = true;
    player.preload = tag === "audio" ? "none" : "metadata";
    player.setAttribute("aria-label", caption ? `${name}: ${caption}` : name);
    player.src = address(clip.path);
    return caption ? [html("p", "dim", caption), player] : [player];
  });
}

async function table(value) {
  if (value.size > TABLE_BYTES) return [download(value.path)];
  const answer = await fetch(address(value.path));
  if (!answer.ok) throw new Error("The file is not here (yet).");
  const { columns, data } = JSON.parse((await answer.text()).replace(/\b(NaN|-?Infinity)\b(?=\s*[,\]])/g, '"$1"'));
  const made = html("table"), head = made.createTHead().insertRow(), body = made.createTBody();
  for (const column of columns) { const cell = html("th", "", String(column)); cell.scope = "col"; head.append(cell); }
  for (const row of data.slice(0, ROWS_SHOWN)) {
    const line = body.insertRow();
    for (const item of row) {
      const number = typeof item === "number";
      const text = number ? short(item) : item !== null && typeof item === "object" ? `<${item._type ?? "object"}>` : String(item);
      line.append(html("td", number ? "num" : "", text));
    }
  }
  const box = html("div", "scroll said");
  box.tabIndex = 0;
  box.append(made);
  const about = html("p", "dim", data.length > ROWS_SHOWN ? `${ROWS_SHOWN} of ${data.length} rows · ` : "");
  about.append(download(value.path));
  return [box, about];
}

// A page of somebody's own: no scripts, no forms, no way out of its frame, and nothing asked of any server.
// The policy of the page around it holds in it too.
const FRAMED = '<!doctype html><meta http-equiv="Content-Security-Policy" content="default-src \'none\'; img-src data:">';

async function framed(value, name) {
  const answer = await fetch(address(value.path));
  if (!answer.ok) throw new Error("The file is not here (yet).");
  const frame = html("iframe");
  frame.setAttribute("sandbox", "");
  frame.title = name;
  frame.srcdoc = FRAMED + await answer.text();
  return [frame];
}

async function shown(kind, value, name) {
  const typed = value !== null && typeof value === "object" && !Array.isArray(value);
  if (kind === "images" && typed) return pictures(value, name);
  if (kind === "audio" && typed) return players("audio", value.audio ?? [value], value.captions, name);
  if (kind === "video" && typed) return String(value.path).endsWith(".gif") ? pictures(value, name) : players("video", [value], null, name);
  if (kind === "table" && typed) return table(value);
  if (kind === "html" && typed) return framed(value, name);
  if (typed && typeof value.path === "string") return [download(value.path)];
  if (typeof value === "string") return [reading(value, name)];
  const words = Array.isArray(value) && value.every((each) => typeof each === "string");
  return [reading(words ? value.join("\n") : JSON.stringify(value, null, 2), name)];
}

// Edges and counts of a histogram; W&B packs even bins.
function binsOf(value) {
  const counts = (value?.values ?? []).map(Number), packed = value?.packedBins;
  const edges = packed ? Array.from({ length: counts.length + 1 }, (_, i) => packed.min + i * packed.size) : (value?.bins ?? []).map(Number);
  const bins = counts.map((count, i) => [edges[i], edges[i + 1], count]).filter((bin) => bin.every(Number.isFinite) && bin[2] > 0);
  return { bins, total: bins.reduce((sum, bin) => sum + bin[2], 0) };
}

// The same bands for all steps; a bin is dealt out by how much of it lies in each.
function banded(bins, low, high) {
  const found = new Array(BANDS).fill(0), width = (high - low) / BANDS;
  for (const [from, to, count] of bins) {
    const first = Math.max(0, Math.min(BANDS - 1, Math.floor((from - low) / width)));
    const last = Math.max(first, Math.min(BANDS - 1, Math.ceil((to - low) / width) - 1));
    for (let i = first; i <= last; i += 1) {
      const a = Math.max(from, low + i * width), b = Math.min(to, low + (i + 1) * width);
      found[i] += first === last ? count : (count * Math.max(0, b - a)) / (to - from);
    }
  }
  return found;
}

function axisX(svg, marks, height) {
  for (const [x, text] of marks) svg.append(node("text", { x, y: height - 6, "text-anchor": "middle" }, text));
}

// All steps as a heat map, one of them as bars; returns what draws another one.
function histograms(stage, key, items, choose) {
  const all = items.map((item) => ({ ...item, ...binsOf(item.value) })), some = all.flatMap((item) => item.bins);
  if (!some.length) { stage.replaceChildren(html("p", "dim", "no finite value to draw")); return () => ""; }
  let low = some.reduce((least, bin) => Math.min(least, bin[0]), Infinity), high = some.reduce((most, bin) => Math.max(most, bin[1]), -Infinity);
  if (!(high > low)) { const pad = Math.abs(low) * 0.1 || 1; low -= pad; high += pad; }
  const columns = all.map((item) => banded(item.bins, low, high).map((count) => count / (item.total || 1)));
  const peak = columns.reduce((most, column) => Math.max(most, ...column), 0);
  const tall = 190, flat = 130, wide = (WIDTH - LEFT - RIGHT) / all.length;
  const sy = scale(low, high, tall - BOTTOM, TOP, false), sx = scale(low, high, LEFT, WIDTH - RIGHT, false);
  const bandHeight = (tall - BOTTOM - TOP) / BANDS;

  const heat = node("svg", { class: "heat c0", viewBox: `0 0 ${WIDTH} ${tall}`, role: "img", "aria-label": `${key}: distribution over ${all.length} steps, ${all[0].step} to ${all[all.length - 1].step}, values from ${short(low)} to ${short(high)}` });
  const paths = new Array(LEVELS + 1).fill("");
  columns.forEach((column, at) => column.forEach((share, band) => {
    const level = share > 0 ? Math.max(1, Math.round(Math.sqrt(share / peak) * LEVELS)) : 0;
    if (level) paths[level] += `M${(LEFT + at * wide).toFixed(2)} ${(tall - BOTTOM - (band + 1) * bandHeight).toFixed(2)}h${wide.toFixed(2)}v${bandHeight.toFixed(2)}h-${wide.toFixed(2)}z`;
  }));
  paths.forEach((d, level) => { if (d) heat.append(node("path", { d, "fill-opacity": (level / LEVELS).toFixed(2) })); });
  for (const mark of ticks(low, high, 5)) heat.append(node("text", { x: LEFT - 6, y: sy(mark) + 4, "text-anchor": "end" }, short(mark)));
  const every = Math.ceil(all.length / 6);
  axisX(heat, all.flatMap((item, at) => (at % every ? [] : [[LEFT + (at + 0.5) * wide, short(item.step)]])), tall);
  const frame = node("rect", { class: "here", y: TOP, width: wide, height: tall - BOTTOM - TOP });
  heat.append(frame);
  heat.addEventListener("click", (event) => {
    const box = heat.getBoundingClientRect(), at = Math.floor((((event.clientX - box.left) / box.width) * WIDTH - LEFT) / wide);
    if (at >= 0 && at < all.length) choose(at);
  });

  const bars = node("svg", { class: "heat c0", viewBox: `0 0 ${WIDTH} ${flat}`, role: "img" });
  const outline = node("path", { "fill-opacity": 0.75 });
  bars.append(outline, node("line", { class: "tick", x1: LEFT, x2: WIDTH - RIGHT, y1: flat - BOTTOM, y2: flat - BOTTOM }));
  axisX(bars, ticks(low, high, 5).map((mark) => [sx(mark), short(mark)]), flat);
  stage.replaceChildren(heat, bars);
  return (at) => {
    const width = (WIDTH - LEFT - RIGHT) / BANDS, most = Math.max(...columns[at]) || 1;
    outline.setAttribute("d", columns[at].map((share, band) => {
      const height = ((flat - BOTTOM - TOP) * share) / most;
      return share ? `M${(LEFT + band * width).toFixed(2)} ${flat - BOTTOM}v-${height.toFixed(2)}h${(width * 0.92).toFixed(2)}v${height.toFixed(2)}z` : "";
    }).join(""));
    frame.setAttribute("x", LEFT + at * wide);
    const { step, bins, total } = all[at];
    const said = bins.length ? `${short(total)} ${total === 1 ? "value" : "values"} from ${short(bins[0][0])} to ${short(bins[bins.length - 1][1])}` : "no finite values";
    bars.setAttribute("aria-label", `${key}, step ${step}: ${said}`);
    return said;
  };
}

class Card {
  constructor(item, source) {
    Object.assign(this, { item, source, known: new Map(), wanted: 0, sharing: null });
    this.element = html("figure", "card medium");
    this.element.dataset.key = item.key;
    this.stage = html("div", "stage");
    this.stage.append(html("p", "dim", "Reading…"));
    this.slider = html("input");
    Object.assign(this.slider, { type: "range", min: 0, value: 0, hidden: true });
    this.slider.setAttribute("aria-label", `${item.key}: step`);
    this.slider.addEventListener("input", () => this.show(Number(this.slider.value)));
    this.caption = html("figcaption");
    this.element.append(html("h3", "", item.key), this.stage, this.slider, this.caption);
  }

  async fetched(query) {
    const answer = await fetch(`${this.source}?key=${encodeURIComponent(this.item.key)}${query}`);
    if (!answer.ok) throw new Error(`It cannot be read (${answer.status}).`);
    return answer.json();
  }

  async open() {
    try {
      if (this.item.count === 0) { await this.put({ step: null, value: this.item.value }, "in the summary"); return; }
      const histogram = this.item.kind === "histogram";
      const found = await this.fetched(histogram ? "" : `&from=-${BLOCK}`);
      const items = histogram ? found.entries.map((entry, at) => ({ ...entry, at })) : found.entries;
      this.total = histogram ? items.length : found.total;
      this.all = found.total;
      items.forEach((entry) => this.known.set(entry.at, entry));
      if (histogram && items.length) this.sharing = histograms(this.stage, this.item.key, items, (at) => this.choose(at));
      this.slider.max = Math.max(0, this.total - 1);
      this.slider.hidden = this.total < 2;
      this.choose(this.total - 1);
    } catch (error) { this.stage.replaceChildren(html("p", "wrong", error.message)); }
  }

  choose(at) { this.slider.value = at; return this.show(at); }

  async show(at) {
    this.wanted = at;
    try {
      if (!this.known.has(at)) {
        const found = await this.fetched(`&from=${Math.floor(at / BLOCK) * BLOCK}`);
        found.entries.forEach((entry) => this.known.set(entry.at, entry));
      }
      if (this.wanted !== at) return;  // the slider has moved on
      const entry = this.known.get(at);
      if (!entry) { this.stage.replaceChildren(html("p", "dim", "nothing here")); return; }
      const place = this.total > 1 ? ` · ${at + 1} of ${this.total}` : "";
      await this.put(entry, `step ${entry.step}${place}`);
    } catch (error) { this.stage.replaceChildren(html("p", "wrong", error.message)); }
  }

  async put(entry, words) {
    const name = `${this.item.key}, ${words}`;
    const lone = this.item.kind === "histogram" && !this.sharing ? histograms(this.stage, this.item.key, [entry], () => {}) : this.sharing;
    if (lone) {
      const said = lone(this.sharing ? entry.at : 0);
      const thinned = this.all > this.total ? ` (evenly spread of ${this.all})` : "";
      this.caption.textContent = [words + thinned, said].filter(Boolean).join(" · ");
    } else {
      const parts = await shown(this.item.kind, entry.value, name);
      if (this.wanted !== (entry.at ?? 0)) return;
      this.stage.replaceChildren(...parts);
      this.caption.textContent = words;
    }
    this.slider.setAttribute("aria-valuetext", words);
    this.element.dataset.ready = "yes";
  }
}

function section(root, title, items) {
  const grid = html("div", "grid"), more = html("button");
  const seen = new IntersectionObserver((changes) => changes.filter((change) => change.isIntersecting).forEach(({ target }) => {
    seen.unobserve(target);
    target.card.open();
  }), { rootMargin: "300px" });
  let done = 0;
  const add = () => {
    const cards = items.slice(done, done + CARDS).map((item) => new Card(item, root.dataset.source));
    for (const card of cards) { card.element.card = card; grid.append(card.element); seen.observe(card.element); }
    done += cards.length;
    more.hidden = done >= items.length;
    more.textContent = `Show more (${done} of ${items.length})`;
  };
  more.addEventListener("click", add);
  root.append(html("h2", "title", title), grid, more);
  add();
}

async function showMedia() {
  const root = document.querySelector(".media");
  const answer = await fetch(root.dataset.source);
  if (!answer.ok) { root.append(html("p", "wrong", `The media cannot be listed (${answer.status}).`)); return; }
  const { keys } = await answer.json();
  for (const [kind, title] of KINDS) {
    const items = keys.filter((item) => item.kind === kind);
    if (items.length) section(root, title, items);
  }
  root.dataset.ready = "yes";
}

showMedia();
