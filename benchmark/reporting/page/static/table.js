// --- the leaderboard: task, metric, category, order, filter ----------------------------------------------------

const view = { task: "retrieval", metric: MAIN, category: null, key: "mean", down: true, filter: "" };
const VERDICTS = ["better", "not shown", "worse"];
const sizes = new Map();
for (const query of board.queries) sizes.set(query.category, (sizes.get(query.category) ?? 0) + 1);

const keyOf = (row) => JSON.stringify([row.task, row.metric, row.category, row.system]);
const means = new Map(board.means.map((row) => [keyOf(row), row]));
const comparisons = new Map(board.comparisons.map((row) => [keyOf(row), row]));

/** What the table shows of each model in the present view. */
function rows() {
  return board.systems.map((system, place) => {
    const key = keyOf({ ...view, system: system.name });
    return {
      system,
      place,
      mean: means.get(key),
      compared: comparisons.get(key) ?? null,
      parameters: facts.costs[system.name].parameters,
      overall: board.general?.verdicts[system.name] ?? "",
    };
  });
}

/** The columns: how each is sorted and shown; `down` where the largest is wanted first. */
function columns() {
  const found = [
    { key: "name", label: "Model", value: (row) => row.system.name, cell: nameCell },
    { key: "mean", label: facts.labels[view.metric], figure: true, down: true, value: (row) => row.mean.mean, cell: meanCell },
    { key: "difference", label: "Difference", figure: true, down: true, value: (row) => row.compared?.difference, cell: differenceCell },
    { key: "p", label: "p (Holm)", figure: true, value: (row) => row.compared?.corrected_p, cell: (row) => [row.compared ? pValue(row.compared.corrected_p) : ""] },
    { key: "verdict", label: "Verdict", value: (row) => row.compared && VERDICTS.indexOf(row.compared.verdict), cell: (row) => [badge(row.compared?.verdict)] },
  ];
  if (board.general && view.task === "retrieval" && view.metric === MAIN && view.category === null) {
    found.push({ key: "overall", label: "Overall", value: (row) => row.overall || null, cell: overallCell });
  }
  return [
    ...found,
    { key: "kind", label: "What it is", value: (row) => row.system.kind, cell: (row) => [row.system.kind], style: "what" },
    { key: "licence", label: "Licence", value: (row) => row.system.licence, cell: (row) => [row.system.licence] },
    { key: "parameters", label: "Parameters", figure: true, value: (row) => row.parameters, cell: (row) => [millions(row.parameters)] },
  ];
}

function nameCell(row) {
  return [model(row.system.name), row.place === 0 && " ", row.place === 0 && make("span", { class: "tag" }, "baseline")];
}

function meanCell(row, scale) {
  const { mean, low, high } = row.mean;
  return [
    make("span", { class: "main" }, number(mean)),
    " ",
    make("span", { class: "span" }, span(low, high, number)),
    low !== null && intervalPicture(row, scale),
  ];
}

function differenceCell(row) {
  if (row.compared === null) return [];
  const { difference, low, high } = row.compared;
  return [make("span", { class: "main" }, signed(difference)), " ", make("span", { class: "span" }, span(low, high, signed))];
}

const overallCell = (row) => [row.overall && make(row.overall === "MARGINAL" ? "span" : "strong", {}, row.overall)];

/** A dot with whiskers, and the baseline's mean as a dashed line; the figures stand beside it. */
function intervalPicture(row, scale) {
  const x = (value) => fixed(2 + (140 * (value - scale.from)) / (scale.to - scale.from || 1), 1);
  const { mean, low, high } = row.mean;
  const line = (a, b, y1, y2, name) => draw("line", { x1: x(a), x2: x(b), y1, y2, class: name });
  return draw(
    "svg",
    { class: `interval ${(row.compared?.verdict ?? "").replace(" ", "-")}`, viewBox: "0 0 144 20", "aria-hidden": "true", focusable: "false" },
    line(scale.base, scale.base, 0, 20, "base"),
    line(low, high, 10, 10, "whisker"),
    line(low, low, 6, 14, "whisker"),
    line(high, high, 6, 14, "whisker"),
    draw("circle", { cx: x(mean), cy: 10, r: 4, class: "dot" }),
  );
}

/** Ascending; texts as people sort them; what is missing comes last whatever the direction. */
function order(found, column) {
  const sign = view.down ? -1 : 1;
  return [...found].sort((left, right) => {
    const [a, b] = [column.value(left) ?? null, column.value(right) ?? null];
    if (a === null || b === null) return (a === null) - (b === null) || left.place - right.place;
    const gap = typeof a === "string" ? a.localeCompare(b, "en", { numeric: true }) : a - b;
    return sign * gap || left.place - right.place;
  });
}

function head(column) {
  const sorted = column.key === view.key;
  const arrow = sorted ? (view.down ? "▼" : "▲") : "↕";
  return make(
    "th",
    { scope: "col", class: column.figure ? "figure" : null, "aria-sort": sorted ? (view.down ? "descending" : "ascending") : null },
    make(
      "button",
      { type: "button", "data-key": column.key, onclick: () => sortBy(column) },
      make("span", {}, column.label),
      make("span", { class: sorted ? "arrow on" : "arrow", "aria-hidden": "true" }, arrow),
    ),
  );
}

function sortBy(column) {
  view.down = view.key === column.key ? !view.down : Boolean(column.down);
  view.key = column.key;
  showTable();
  at("board-table").querySelector(`button[data-key="${column.key}"]`).focus();
}

function words(row) {
  return [row.system.name, row.system.kind, row.system.licence, row.compared?.verdict ?? "baseline", row.overall].join(" ").toLowerCase();
}

function showTable() {
  const all = rows();
  const shown = all.filter((row) => view.filter.toLowerCase().split(/\s+/).every((word) => words(row).includes(word)));
  const found = columns();
  const column = found.find((one) => one.key === view.key) ?? found.find((one) => one.key === "mean");
  const ends = all.flatMap((row) => [row.mean.low ?? row.mean.mean, row.mean.high ?? row.mean.mean]);
  const scale = { from: Math.min(...ends), to: Math.max(...ends), base: all[0].mean.mean };
  const table = at("board-table");
  table.tHead.rows[0].replaceChildren(...found.map(head));
  table.tBodies[0].replaceChildren(
    ...order(shown, column).map((row) =>
      make(
        "tr",
        {},
        ...found.map((one, place) =>
          place === 0
            ? make("th", { scope: "row" }, ...one.cell(row, scale))
            : make("td", { class: one.figure ? "figure" : one.style }, ...one.cell(row, scale)),
        ),
      ),
    ),
  );
  const label = facts.labels[view.metric];
  at("leaderboard-caption").textContent = `Models by ${label} in ${view.task}, each with its 95 % interval; the dashed line is the baseline`;
  at("table-status").textContent = `${shown.length} of ${many(all.length, "model", "models")} shown`;
  at("reranking").hidden = view.task !== "reranking";
  showGroup(all[0].mean.n);
}

function showGroup(n) {
  const group = view.category === null ? "" : `, category ${view.category}`;
  const few = n < facts.few && make("strong", {}, ` Fewer than ${facts.few} questions: an example rather than a finding.`);
  at("group").replaceChildren();
  fill(at("group"), {}, [`${board.task_names[view.task]}${group}: ${many(n, "question", "questions")}.`, few]);
}

// --- tabs: one stop for the Tab key, arrows move between them --------------------------------------------------

function makeTabs() {
  const entries = [[null, "All", board.queries.length], ...[...sizes].map(([name, n]) => [name, name, n])];
  const list = at("tabs");
  entries.forEach(([category, label, n], place) => {
    const few = n < facts.few ? ", few" : "";
    const tab = make(
      "button",
      { type: "button", role: "tab", id: `tab-${place}`, "aria-controls": "panel", onclick: () => choose(place) },
      `${label} (${grouped(n)}${few})`,
    );
    tab.category = category;
    list.append(tab);
  });
  list.addEventListener("keydown", (event) => {
    const here = [...list.children].indexOf(document.activeElement);
    const last = list.children.length - 1;
    const to = { ArrowRight: here === last ? 0 : here + 1, ArrowLeft: here === 0 ? last : here - 1, Home: 0, End: last }[event.key];
    if (to === undefined || here < 0) return;
    event.preventDefault();
    choose(to);
    list.children[to].focus();
  });
  list.hidden = false;
  at("panel").setAttribute("role", "tabpanel");
  choose(0);
}

function choose(place) {
  const tabs = [...at("tabs").children];
  tabs.forEach((tab, other) => {
    tab.setAttribute("aria-selected", String(other === place));
    tab.tabIndex = other === place ? 0 : -1;
  });
  at("panel").setAttribute("aria-labelledby", tabs[place].id);
  view.category = tabs[place].category;
  showTable();
}

function startTable() {
  at("task").addEventListener("change", (event) => {
    view.task = event.target.value;
    showTable();
  });
  at("metric").addEventListener("change", (event) => {
    view.metric = event.target.value;
    showTable();
  });
  at("filter").addEventListener("input", (event) => {
    view.filter = event.target.value.trim();
    showTable();
  });
  // What the browser kept of an earlier visit is no choice of this one.
  at("table-controls").reset();
  at("table-controls").addEventListener("submit", (event) => event.preventDefault());
  at("table-controls").hidden = false;
  at("reranking-table").hidden = true;
  makeTabs();
}
