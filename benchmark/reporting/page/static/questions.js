// --- question by question ------------------------------------------------------------------------------------------

const SCORES = board.scores.retrieval;
const PAGE = 50; // questions that are listed before one asks for more
const LONG = 1200; // characters of a relevant passage beyond which it is folded
const asked = { text: "", category: "", a: BASELINE, b: BASELINE, show: "all", order: "given", most: PAGE };
const opened = new Set();

const scoreOf = (name, place) => SCORES[name][MAIN][place];
const gapOf = (place) => scoreOf(asked.a, place) - scoreOf(asked.b, place);
const meanOf = (place) => NAMES.reduce((sum, name) => sum + scoreOf(name, place), 0) / NAMES.length;

/** Places of the questions that are asked for, in the order asked for. */
function found() {
  const wanted = {
    all: () => true,
    a: (place) => gapOf(place) > SAME,
    b: (place) => gapOf(place) < -SAME,
    same: (place) => Math.abs(gapOf(place)) <= SAME,
    none: (place) => NAMES.every((name) => scoreOf(name, place) <= SAME),
  }[asked.show];
  const words = asked.text.toLowerCase().split(/\s+/);
  const places = explorer.questions.map((_, place) => place).filter((place) => {
    const query = board.queries[place];
    const text = `${query.id} ${explorer.questions[place].text}`.toLowerCase();
    return (asked.category === "" || `=${plain(query.category)}` === asked.category) && words.every((word) => text.includes(word)) && wanted(place);
  });
  const by = { given: () => 0, a: (place) => -gapOf(place), b: gapOf, hard: meanOf }[asked.order];
  return places.sort((left, right) => by(left) - by(right) || left - right);
}

/** All models' scores as bars, in the leaderboard's order; the opened question tells them in words. */
function strip(place) {
  const width = 88 / facts.order.length;
  const bars = facts.order.map((name, at) => {
    const score = scoreOf(name, place);
    const style = name === asked.a ? "a" : name === asked.b ? "b" : null;
    const height = Math.max(score * 21, score > 0 ? 1 : 0);
    return draw("rect", { class: style, x: at * width, width: Math.max(width - 2, 1), y: 22 - height, height });
  });
  const words = facts.order.map((name) => `${name} ${number(scoreOf(name, place))}`).join(", ");
  return draw("svg", { class: "strip", viewBox: "0 0 88 24", preserveAspectRatio: "none", "aria-hidden": "true" },
    draw("title", {}, words), ...bars, draw("line", { x1: 0, x2: 88, y1: 22.5, y2: 22.5 }));
}

function question(place) {
  const query = board.queries[place];
  const gap = gapOf(place);
  const style = gap > SAME ? "better" : gap < -SAME ? "worse" : "";
  const detail = make("div", { class: "detail", id: `question-${place}`, hidden: true });
  const scores = asked.a === asked.b
    ? [`A ${number(scoreOf(asked.a, place))}`]
    : [`A ${number(scoreOf(asked.a, place))} · B ${number(scoreOf(asked.b, place))} `, make("span", { class: `gap ${style}` }, signed(gap))];
  const button = make(
    "button",
    { type: "button", "aria-expanded": "false", "aria-controls": detail.id },
    make("span", { class: "ask" }, explorer.questions[place].text || query.id),
    make("span", { class: "category" }, query.category),
    strip(place),
    make("span", { class: "scores" }, ...scores),
  );
  const open = (yes) => {
    button.setAttribute("aria-expanded", String(yes));
    detail.hidden = !yes;
    if (yes && !detail.hasChildNodes()) detail.append(...details(place));
    opened[yes ? "add" : "delete"](place);
  };
  button.addEventListener("click", () => open(detail.hidden));
  if (opened.has(place)) open(true);
  return make("li", { class: "question" }, make("h3", {}, button), detail);
}

// --- one question --------------------------------------------------------------------------------------------------

function details(place) {
  const { answer, relevant, ranked } = explorer.questions[place];
  const parts = [make("p", { class: "quiet" }, "Question ", make("span", { class: "id" }, board.queries[place].id))];
  parts.push(make("h4", {}, relevant.length === 1 ? "Relevant passage" : "Relevant passages"));
  parts.push(make("ul", { class: "passages" }, ...relevant.map((one) => passage(one, true, LONG))));
  if (answer) parts.push(make("h4", {}, "Reference answer"), make("p", { class: "answer" }, answer));
  parts.push(make("h4", {}, "What each model ranked first"));
  const boxes = facts.order.map((name) => ranking(name, place, ranked[NAMES.indexOf(name)], new Set(relevant)));
  parts.push(make("div", { class: "rankings" }, ...boxes));
  return parts;
}

function ranking(name, place, [first, hits], relevant) {
  const where = first === null ? `No relevant passage among its first ${explorer.cut.depth}` : `First relevant passage: rank ${first}`;
  const items = hits.map((one, rank) => {
    const is = relevant.has(one);
    const mark = make("span", { class: `hit ${is ? "relevant" : "other"}` }, `${rank + 1}. ${is ? "✓ relevant" : "not relevant"}`);
    return passage(one, is, 0, mark);
  });
  return make(
    "div",
    { class: "ranking" },
    make("h5", {}, model(name), make("span", { class: "score" }, number(scoreOf(name, place)))),
    make("p", {}, hits.length ? where : "It found nothing"),
    make("ul", { class: "passages" }, ...items),
  );
}

/** A passage: where it stands, and its text, folded where it is longer than `most`. */
function passage(one, relevant, most, mark = null) {
  const { id, document: file, heading, text, cut } = explorer.passages[one];
  const where = [mark, mark && " ", heading || file || null, (heading || file) && " ", make("span", { class: "id" }, id)];
  const item = make("li", { class: relevant ? "passage relevant" : "passage" });
  if (text === undefined) return fill(item, {}, [make("p", { class: "where" }, ...where)]);
  const body = make("p", { class: "text" }, text, cut && make("span", { class: "quiet" }, ` (cut here; ${grouped(cut)} characters in all)`));
  if (text.length <= most) return fill(item, {}, [make("p", { class: "where" }, ...where), body]);
  return fill(item, {}, [make("details", {}, make("summary", {}, ...where), body)]);
}

// --- list ------------------------------------------------------------------------------------------------------------

function showQuestions() {
  const places = found();
  at("questions-list").replaceChildren(...places.slice(0, asked.most).map(question));
  const more = places.length - asked.most;
  at("question-more").hidden = more <= 0;
  at("question-more").textContent = `Show ${Math.min(more, PAGE)} more`;
  at("question-status").textContent = `${grouped(places.length)} of ${many(explorer.questions.length, "question", "questions")}` +
    `${more > 0 ? `, the first ${asked.most} shown` : ""}`;
  showLegend();
}

function showLegend() {
  const chip = (style) => make("span", { class: `chip ${style}`, "aria-hidden": "true" });
  at("question-legend").replaceChildren();
  fill(at("question-legend"), {}, [
    `Each score is ${facts.labels[MAIN]} in retrieval. `, chip("a"), " A ", model(asked.a), " · ", chip("b"), " B ", model(asked.b),
    ` · bars, left to right: ${facts.order.join(", ")}`,
  ]);
}

function showNote() {
  const { characters, hits, questions, shortened } = explorer.cut;
  const parts = ["Open a question to see its relevant passages and what each model ranked first in retrieval."];
  if (explorer.withheld) {
    parts.push("This page was published without the documents and the questions: questions are named by their ids and passages are numbered, and their texts, the reference answers and the documents' names were taken out.");
  }
  if (shortened && !explorer.withheld) parts.push(`To keep this page small, ${many(shortened, "passage", "passages")} of ${grouped(explorer.passages.length)} are cut after ${grouped(characters)} characters.`);
  parts.push(hits === 1 ? "Of each model only the first passage is here." : `Of each model the first ${hits} passages are here.`);
  if (questions !== null && questions < board.queries.length) {
    parts.push(`Only the first ${grouped(questions)} of ${grouped(board.queries.length)} questions are here; all are in the leaderboard.`);
  }
  at("explorer-note").textContent = parts.join(" ");
}

function startQuestions() {
  const models = facts.order.map((name) => [name, name]);
  asked.a = facts.order.find((name) => name !== BASELINE) ?? BASELINE;
  at("question-controls").reset();
  options(at("model-a"), models, asked.a);
  options(at("model-b"), models, asked.b);
  options(at("question-category"), [["", "all"], ...[...sizes].map(([name, n]) => [`=${name}`, `${name} (${grouped(n)})`])], "");
  const change = (id, key, event = "change", when = (action) => action) => {
    const act = when(() => {
      asked[key] = at(id).value;
      asked.most = PAGE;
      showQuestions();
    });
    at(id).addEventListener(event, act);
  };
  change("question-text", "text", "input", calmly);
  change("question-category", "category");
  change("model-a", "a");
  change("model-b", "b");
  change("question-show", "show");
  change("question-order", "order");
  at("question-more").addEventListener("click", () => {
    const next = asked.most;
    asked.most += PAGE;
    showQuestions();
    at("questions-list").children[next]?.querySelector("button").focus();
  });
  at("question-controls").addEventListener("submit", (event) => event.preventDefault());
  at("question-controls").hidden = false;
  at("question-legend").hidden = false;
  showNote();
  showQuestions();
}
