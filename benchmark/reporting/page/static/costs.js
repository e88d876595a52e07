// --- quality against cost ----------------------------------------------------------------------------------------

const AXES = {
  latency_p50: { label: "Query latency, median (ms)", write: (value) => `${plainFigure(value)} ms` },
  index_bytes_per_million: { label: "Index of a million passages (MB)", write: (value) => `${plainFigure(value / 1e6)} MB`, unit: 1e6 },
  parameters: { label: "Parameters (millions)", write: (value) => `${plainFigure(value / 1e6)} M`, unit: 1e6 },
};

const plainFigure = (value) => value.toLocaleString("en-US", { maximumSignificantDigits: 3 });

/** Models with this cost, cheapest first, and which of them no other is both cheaper than and better in the mean. */
function measured(cost) {
  const found = facts.order
    .map((name, place) => {
      const { mean, low, high } = means.get(keyOf({ task: "retrieval", metric: MAIN, category: null, system: name }));
      return { name, place, x: facts.costs[name][cost], y: mean, low: low ?? mean, high: high ?? mean };
    })
    .filter((point) => point.x !== null)
    .sort((a, b) => a.x - b.x || b.y - a.y);
  let best = -Infinity;
  for (const point of found) {
    point.front = point.y > best;
    best = Math.max(best, point.y);
  }
  return found;
}

/** 1, 2 and 5 times powers of ten in a range; powers alone where the range is wide. */
function ticks(from, to) {
  const wide = Math.log10(to / from) > 2.5;
  const found = [];
  for (let power = Math.floor(Math.log10(from)); power <= Math.ceil(Math.log10(to)); power += 1) {
    for (const factor of wide ? [1] : [1, 2, 5]) found.push(factor * 10 ** power);
  }
  return found.filter((value) => value >= from && value <= to);
}

function evenTicks(from, to) {
  const step = [0.01, 0.02, 0.05, 0.1, 0.2].find((one) => (to - from) / one <= 6) ?? 0.25;
  const found = [];
  for (let value = Math.ceil(from / step); value * step <= to + SAME; value += 1) found.push(value * step);
  return found;
}

/** Scales from data to pixels: quality even, cost by powers of ten; a cost of 0 stands at the left edge. */
function scales(points, box) {
  const costs = points.map((point) => point.x).filter((x) => x > 0);
  const [least, most] = costs.length ? [Math.min(...costs) / 1.6, Math.max(...costs) * 1.6] : [1, 10];
  const zero = points.some((point) => point.x === 0);
  const left = box.left + (zero ? 56 : 0);
  const [from, to] = [Math.min(...points.map((point) => point.low)), Math.max(...points.map((point) => point.high))];
  const room = Math.max(0.01, (to - from) * 0.08);
  const [low, high] = [Math.max(0, from - room), Math.min(1, to + room)];
  return {
    least, most, low, high, zero,
    x: (value) => (value === 0 ? box.left + 20 : left + ((box.right - left) * Math.log(value / least)) / Math.log(most / least)),
    y: (value) => box.bottom - ((box.bottom - box.top) * (value - low)) / (high - low),
  };
}

function grid(svg, scale, box, axis) {
  const unit = axis.unit ?? 1;
  for (const value of ticks(scale.least / unit, scale.most / unit)) {
    const x = scale.x(value * unit);
    svg.append(draw("line", { class: "grid", x1: x, x2: x, y1: box.top, y2: box.bottom }));
    svg.append(draw("text", { class: "tick", x, y: box.bottom + 18, "text-anchor": "middle" }, plainFigure(value)));
  }
  if (scale.zero) svg.append(draw("text", { class: "tick", x: scale.x(0), y: box.bottom + 18, "text-anchor": "middle" }, "0"));
  for (const value of evenTicks(scale.low, scale.high)) {
    const y = scale.y(value);
    svg.append(draw("line", { class: "grid", x1: box.left, x2: box.right, y1: y, y2: y }));
    svg.append(draw("text", { class: "tick", x: box.left - 8, y: y + 4, "text-anchor": "end" }, fixed(value, 2)));
  }
  svg.append(draw("text", { class: "tick", x: (box.left + box.right) / 2, y: box.bottom + 40, "text-anchor": "middle" }, axis.label));
  svg.append(draw("text", { class: "tick", x: 0, y: 12 }, facts.labels[MAIN]));
}

/** Put each point's name where it meets no other thing; where there is no such place, its number alone. */
function label(svg, points, scale, box) {
  const taken = points.flatMap((point) => {
    const [x, y] = [scale.x(point.x), scale.y(point.y)];
    return [
      { left: x - 8, right: x + 8, top: y - 8, bottom: y + 8 },
      { left: x - 3, right: x + 3, top: scale.y(point.high), bottom: scale.y(point.low) },
    ];
  });
  points.filter((point) => point.front).forEach((point, place, front) => {
    if (place === 0) return;
    const [y, below] = [scale.y(point.y), scale.y(front[place - 1].y)];
    const [left, right] = [scale.x(front[place - 1].x), scale.x(point.x)];
    taken.push({ left, right, top: below - 2, bottom: below + 2 }, { left: right - 2, right: right + 2, top: y, bottom: below });
  });
  const meets = (a, b) => a.left < b.right && b.left < a.right && a.top < b.bottom && b.top < a.bottom;
  const numbered = [];
  for (const point of points) {
    const [x, y] = [scale.x(point.x), scale.y(point.y)];
    const group = draw("g", { class: point.front ? "best" : null });
    svg.append(group);
    let placed = false;
    for (const words of [point.name, String(point.place + 1)]) {
      const text = draw("text", {}, words);
      group.append(text);
      const width = text.getComputedTextLength() + 2;
      const spots = [[x + 11, y], [x - 11 - width, y], [x + 9, y - 14], [x + 9, y + 14], [x - 9 - width, y - 14], [x - 9 - width, y + 14]];
      const free = spots.find(([left, middle]) => {
        const spot = { left, right: left + width, top: middle - 8, bottom: middle + 8 };
        const inside = left >= box.left && spot.right <= box.right + 6 && spot.top >= box.top - 8 && spot.bottom <= box.bottom;
        return inside && !taken.some((other) => meets(spot, other));
      });
      if (free) {
        text.setAttribute("x", free[0]);
        text.setAttribute("y", free[1] + 4);
        taken.push({ left: free[0], right: free[0] + width, top: free[1] - 8, bottom: free[1] + 8 });
        if (words !== point.name) numbered.push(point);
        placed = true;
        break;
      }
      text.remove();
    }
    if (!placed) numbered.push(point);
  }
  return numbered;
}

function plot(points, axis, width) {
  const height = Math.max(300, Math.min(440, width * 0.5));
  const box = { left: 44, right: width - 12, top: 28, bottom: height - 48 };
  const scale = scales(points, box);
  const name = `${facts.labels[MAIN]} against ${axis.label.toLowerCase()}; the figures stand in the table below`;
  const svg = draw("svg", { class: "plot", viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": name });
  at("cost-plot").replaceChildren(svg);
  grid(svg, scale, box, axis);
  const best = points.filter((point) => point.front);
  const steps = best.map((point, place) => (place ? `H${scale.x(point.x)}V${scale.y(point.y)}` : `M${scale.x(point.x)} ${scale.y(point.y)}`));
  if (best.length > 1) svg.append(draw("path", { class: "front", d: steps.join("") }));
  for (const point of points) {
    const [x, y] = [scale.x(point.x), scale.y(point.y)];
    const dot = point.front
      ? draw("rect", { class: "dot", x: x - 5, y: y - 5, width: 10, height: 10, transform: `rotate(45 ${x} ${y})` })
      : draw("circle", { class: "dot", cx: x, cy: y, r: 5 });
    const whisker = draw("line", { class: "whisker", x1: x, x2: x, y1: scale.y(point.low), y2: scale.y(point.high) });
    svg.append(draw("g", { class: point.front ? "best" : null }, whisker, dot));
  }
  return label(svg, points, scale, box);
}

function showCosts() {
  const cost = at("cost").value;
  const points = measured(cost);
  const caption = at("cost-caption");
  at("cost-plot").replaceChildren();
  caption.replaceChildren();
  const say = (...parts) => caption.append(make("p", {}, ...parts));
  if (points.length) {
    const width = Math.max(280, at("cost-figure").clientWidth);
    const numbered = plot(points, AXES[cost], width);
    const names = points.filter((point) => point.front).map((point) => `${point.name} (${AXES[cost].write(point.x)}, ${number(point.y)})`);
    if (numbered.length) say(`Numbers: ${numbered.map((point) => `${point.place + 1} ${point.name}`).join(", ")}.`);
    say(`◆ On the Pareto front, cheapest first: ${names.join("; ")}. No other model is both cheaper and better in the mean; where intervals overlap, that is no proof.`);
  }
  const missing = facts.order.filter((name) => facts.costs[name][cost] === null);
  if (missing.length) say(`Not measured: ${missing.join(", ")}.`);
}

function startCosts() {
  const select = at("cost");
  at("cost-controls").reset();
  const first = Object.keys(AXES).find((cost) => measured(cost).length) ?? "latency_p50";
  select.value = first;
  select.addEventListener("change", showCosts);
  at("cost-controls").addEventListener("submit", (event) => event.preventDefault());
  at("cost-controls").hidden = false;
  at("cost-figure").hidden = false;
  let width = 0;
  new ResizeObserver(() => {
    const now = at("cost-figure").clientWidth;
    if (now !== width) showCosts();
    width = now;
  }).observe(at("cost-figure"));
}
