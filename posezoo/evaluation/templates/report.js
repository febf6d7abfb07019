"use strict";
// Sorts tables, draws the error curves and the plan view. The data are in the page; nothing is fetched.
const data = JSON.parse(document.getElementById("data").textContent);
const COLOURS = ["--model", "--mean", "--near", "--oracle"];
const SVG = "http://www.w3.org/2000/svg";
const css = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const number = (value) => (value === null ? "failed" : value < 1 ? value.toFixed(3) : value.toFixed(2));

// Tables: a click on a heading sorts by the number that its cells begin with, or by their text; dates and names are text
const NUMBER = /^(-?[\d.]+|inf)(?=[ ,]|$)/;
for (const table of document.querySelectorAll("table.sorts")) {
  const body = table.tBodies[0], heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => head.firstElementChild.addEventListener("click", () => {
    const up = head.getAttribute("aria-sort") !== "ascending";
    const key = (row) => { const text = row.cells[column].textContent.trim(), found = NUMBER.exec(text);
      return !found ? text : found[1] === "inf" ? Infinity : Number.isNaN(Number(found[1])) ? text : Number(found[1]); };
    const order = (a, b) => (typeof a !== typeof b ? (typeof a === "number" ? -1 : 1)
      : a === b ? 0 : typeof a === "number" ? a - b : a.localeCompare(b, undefined, { numeric: true }));
    [...body.rows].sort((a, b) => (up ? 1 : -1) * order(key(a), key(b))).forEach((row) => body.append(row));
    heads.forEach((other) => other.removeAttribute("aria-sort"));
    head.setAttribute("aria-sort", up ? "ascending" : "descending");
  }));
}

// Curves: the share of images below each error, on a logarithmic axis
function curve(place, curves, unit) {
  const [width, height, left, bottom] = [520, 300, 38, 34], svg = document.createElementNS(SVG, "svg");
  svg.setAttribute("viewBox", `0 0 ${width} ${height}`);
  svg.setAttribute("role", "img");
  svg.setAttribute("aria-label", `Curves: the share of images below each ${place.dataset.curve} error (${unit})`);
  const values = curves.flatMap((one) => one.filter((v) => v !== null && v > 0));
  const low = Math.log10(values.length ? Math.max(Math.min(...values), 1e-3) : 1e-3), high = Math.log10(Math.max(...values, 1e-2));
  const x = (value) => left + (width - left - 10) * (Math.log10(Math.max(value, 10 ** low)) - low) / Math.max(high - low, 1e-9);
  const y = (share) => height - bottom - (height - bottom - 10) * share;
  const add = (tag, attributes, text) => { const node = document.createElementNS(SVG, tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    if (text) node.textContent = text; svg.append(node); };
  for (const share of [0, 0.25, 0.5, 0.75, 1]) {
    add("line", { x1: left, x2: width - 10, y1: y(share), y2: y(share), stroke: "var(--line)" });
    add("text", { x: left - 5, y: y(share) + 4, "text-anchor": "end" }, `${100 * share}`);
  }
  for (let power = Math.ceil(low); power <= high; power++)
    add("text", { x: x(10 ** power), y: height - bottom + 15, "text-anchor": "middle" }, `${Number((10 ** power).toPrecision(1))}`);
  add("text", { x: width / 2, y: height - 4, "text-anchor": "middle" }, `error (${unit}); % of images below it`);
  [...curves.keys()].reverse().forEach((n) => {
    const last = curves[n].length - 1;
    const points = curves[n].flatMap((value, i) => (value === null ? [] : [`${x(value).toFixed(1)},${y(i / last).toFixed(1)}`]));
    add("polyline", { points: points.join(" "), fill: "none", stroke: `var(${COLOURS[n % 4]})`, "stroke-width": n ? 1.5 : 3 });
  });
  place.append(svg);
}
document.querySelectorAll("[data-curve]").forEach((place) => curve(place, data.curves[place.dataset.curve], place.dataset.unit));

// The plan view
const canvas = document.getElementById("plan"), chosen = document.getElementById("scene"), detail = document.getElementById("detail");
let current = -1, places = [];
let zoom = 1, moved = [0, 0];  // of the whole scene, in pixels of the plan
const inScene = (list) => list.filter((one) => !chosen || one.scene === Number(chosen.value));
function heat(error) {
  const stops = [[13, 8, 135], [126, 3, 168], [204, 71, 120], [248, 149, 64]];
  const span = Math.log(data.heat[1] / data.heat[0]) || 1;
  const at = error === null ? 1 : Math.min(1, Math.max(0, Math.log(Math.max(error, 1e-9) / data.heat[0]) / span));
  const n = Math.min(2, Math.floor(3 * at)), part = 3 * at - n;
  return `rgb(${stops[n].map((v, i) => Math.round(v + part * (stops[n + 1][i] - v))).join(",")})`;
}
function draw() {
  const ratio = window.devicePixelRatio || 1, width = canvas.clientWidth, height = canvas.clientHeight;
  canvas.width = width * ratio; canvas.height = height * ratio;
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  const train = inScene(data.train), images = inScene(data.images);
  const known = [...train.map((one) => one.at), ...images.map((one) => one.at)];
  const min = [0, 1].map((k) => known.reduce((m, p) => Math.min(m, p[k]), Infinity));
  const max = [0, 1].map((k) => known.reduce((m, p) => Math.max(m, p[k]), -Infinity));
  const span = Math.max(max[0] - min[0], max[1] - min[1], 1e-6), margin = 0.08 * span;
  const scale = Math.min(width / (max[0] - min[0] + 2 * margin), height / (max[1] - min[1] + 2 * margin));
  const whole = (p) => [width / 2 + scale * (p[0] - (min[0] + max[0]) / 2), height / 2 - scale * (p[1] - (min[1] + max[1]) / 2)];
  const where = (p) => whole(p).map((v, k) => zoom * v + moved[k]);
  const dot = (p, radius, colour) => { pen.fillStyle = colour; pen.beginPath(); pen.arc(...where(p), radius, 0, 7); pen.fill(); };
  train.forEach((one) => dot(one.at, 1.6, css("--train")));
  pen.strokeStyle = css("--soft"); pen.lineWidth = 0.5; pen.globalAlpha = 0.6;
  images.forEach((one) => { if (one.predicted) { pen.beginPath(); pen.moveTo(...where(one.at)); pen.lineTo(...where(one.predicted)); pen.stroke(); } });
  pen.globalAlpha = 1;
  images.forEach((one) => dot(one.at, 1.4, css("--true")));
  images.forEach((one) => { if (one.predicted) dot(one.predicted, 3, heat(one.metres)); });
  places = images.map((one) => [data.images.indexOf(one), where(one.at), where(one.predicted || one.at)]);
  const outside = images.filter((one) => one.predicted && whole(one.predicted).some((v, k) => v < 0 || v > [width, height][k]));
  document.getElementById("outside").textContent = outside.length ? ` ${outside.length} predicted outside.` : "";
  const found = data.images[current];
  if (found && images.includes(found)) {
    pen.strokeStyle = css("--model"); pen.lineWidth = 2;
    for (const p of [found.at, found.predicted || found.at]) { pen.beginPath(); pen.arc(...where(p), 7, 0, 7); pen.stroke(); }
  }
}
function element(tag, text, parent) { const node = document.createElement(tag); node.textContent = text; parent.append(node); return node; }
function show(index) {
  const one = data.images[index];
  if (!one) return;
  current = index;
  detail.replaceChildren();
  const picture = (source, words) => { const figure = element("figure", "", detail);
    if (source) { const image = element("img", "", figure); image.src = source; image.alt = words; }
    element("figcaption", words, figure); };
  element("p", `${number(one.metres)} ${data.unit}, ${number(one.degrees)} deg`, detail).id = "error";
  picture(data.thumbs[one.thumb], one.name);
  if (one.near) picture(data.thumbs[one.near.thumb], `nearest training image: ${one.near.name} (${number(one.near.metres)} ${data.unit} away)`);
  else element("p", "nearest training image: none is known, or several have its pose", detail);
  const other = chosen && Number(chosen.value) !== one.scene;
  if (other) chosen.value = one.scene;
  if (other) look(1, [0, 0]); else draw();
}
// Zoom and drag: the wheel alone scrolls the page; a touchpad's pinch is a wheel with Ctrl
function look(to, at) {
  zoom = Math.min(200, Math.max(1, to));
  const edge = (v, side) => Math.min(0, Math.max(side * (1 - zoom), v));  // the whole scene's frame fills the plan
  moved = [edge(at[0], canvas.clientWidth), edge(at[1], canvas.clientHeight)];
  draw();
}
canvas.addEventListener("wheel", (event) => {
  if (!event.ctrlKey && !event.metaKey) return;
  event.preventDefault();
  const to = Math.min(200, Math.max(1, zoom * 1.002 ** -event.deltaY)), box = canvas.getBoundingClientRect();
  look(to, [event.clientX - box.left, event.clientY - box.top].map((v, k) => v - (v - moved[k]) * to / zoom));
}, { passive: false });
let dragged = 0;  // pixels since the button went down
canvas.addEventListener("pointerdown", () => { dragged = 0; });
canvas.addEventListener("pointermove", (event) => {
  if (!event.buttons || event.pointerType === "touch") return;
  dragged += Math.hypot(event.movementX, event.movementY);
  if (dragged > 4) look(zoom, [moved[0] + event.movementX, moved[1] + event.movementY]);
});
canvas.addEventListener("dblclick", () => look(1, [0, 0]));
canvas.addEventListener("click", (event) => {
  if (dragged > 4) return;
  const box = canvas.getBoundingClientRect(), point = [event.clientX - box.left, event.clientY - box.top];
  const far = (p) => Math.hypot(p[0] - point[0], p[1] - point[1]);
  const best = places.reduce((a, b) => (Math.min(far(b[1]), far(b[2])) < Math.min(far(a[1]), far(a[2])) ? b : a), places[0]);
  if (best) show(best[0]);
});
canvas.addEventListener("keydown", (event) => {
  const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
  const from = current < 0 && step < 0 ? 0 : current;  // the first one is the first image, or backwards the last
  if (step) { event.preventDefault(); show((from + step + data.images.length) % data.images.length); }
});
document.querySelectorAll("[data-image]").forEach((button) => button.addEventListener("click", () => {
  show(Number(button.dataset.image));
  canvas.scrollIntoView({ block: "center" });
}));
if (chosen) chosen.addEventListener("change", () => look(1, [0, 0]));
window.addEventListener("resize", draw);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
draw();
