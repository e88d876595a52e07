// --- every pair: full figures of the cell in hand; one stop for the Tab key, arrows move between the cells -------

function pairOf(row, column) {
  for (const pair of board.pairwise) {
    if (pair.first === row && pair.second === column) return pair;
    if (pair.first === column && pair.second === row) {
      const verdict = { better: "worse", worse: "better" }[pair.verdict] ?? pair.verdict;
      const turn = (value) => (value === null ? null : 0 - value);
      return {
        ...pair, first: row, second: column, difference: turn(pair.difference), low: turn(pair.high), high: turn(pair.low),
        verdict, wins: pair.losses, losses: pair.wins,
      };
    }
  }
  return null;
}

/** A comparison in a sentence. */
function told(pair) {
  const interval = span(pair.low, pair.high, signed);
  return (
    `${pair.first} against ${pair.second}: ${pair.verdict}. ${facts.labels[MAIN]} ${signed(pair.difference)}` +
    `${interval && ` (95 % interval ${interval})`}, corrected p ${pairP(pair)}; ` +
    `${many(pair.wins, "question", "questions")} won, ${grouped(pair.losses)} lost, ${grouped(pair.ties)} tied.`
  );
}

const pairP = (pair) => (pair.corrected_p < 0.0001 ? pValue(pair.corrected_p) : `= ${pValue(pair.corrected_p)}`);

function startPairs() {
  const table = at("matrix");
  if (table === null) return;
  const caption = at("pair-caption");
  const grid = [...table.tBodies[0].rows].map((row) => [...row.cells].slice(1));
  let kept = null;
  const hint = "Choose a cell for its full figures; the arrow keys move from cell to cell.";
  const show = (button) => {
    caption.textContent = button === null ? hint : button.dataset.told;
  };
  for (const cell of grid.flat().filter((one) => one.dataset.row !== undefined)) {
    const said = told(pairOf(cell.dataset.row, cell.dataset.column));
    const button = make("button", { type: "button", tabindex: "-1", "data-told": said, "aria-pressed": "false" });
    button.append(...cell.childNodes, make("span", { class: "sr" }, ` ${said}`));
    cell.append(button);
    button.addEventListener("mouseenter", () => show(button));
    button.addEventListener("mouseleave", () => show(kept));
    button.addEventListener("focus", () => show(button));
    button.addEventListener("blur", () => show(kept));
    button.addEventListener("click", () => {
      kept?.setAttribute("aria-pressed", "false");
      kept = kept === button ? null : button;
      kept?.setAttribute("aria-pressed", "true");
      show(button);
    });
  }
  table.addEventListener("keydown", (event) => moveInGrid(event, grid));
  table.querySelector("td button").tabIndex = 0;
  caption.hidden = false;
  show(null);
}

function moveInGrid(event, grid) {
  const step = { ArrowRight: [0, 1], ArrowLeft: [0, -1], ArrowDown: [1, 0], ArrowUp: [-1, 0] }[event.key];
  const cell = document.activeElement.closest("td");
  if (step === undefined || cell === null) return;
  event.preventDefault();
  let row = grid.findIndex((cells) => cells.includes(cell));
  let column = grid[row].indexOf(cell);
  do {
    [row, column] = [row + step[0], column + step[1]];
  } while (grid[row]?.[column] && grid[row][column].querySelector("button") === null); // the diagonal is stepped over
  const button = grid[row]?.[column]?.querySelector("button");
  if (!button) return;
  document.activeElement.tabIndex = -1;
  button.tabIndex = 0;
  button.focus();
}
