(() => {
"use strict";

const at = (id) => document.getElementById(id);
const main = at("rate");
const n = Number(main.dataset.n);
const rows = [...document.querySelectorAll("[data-row]")];
const note = at("note");
const status = at("status");
const help = at("help");
const reference = at("reference");
let rated = main.dataset.rated === "yes";
const early = main.dataset.early === "yes";

// --- what is filled in ----------------------------------------------------------------------------------------------

const chosen = (row) => row.querySelector("input:checked");
const missing = () => rows.filter((row) => !chosen(row));

function filled() {
  const scores = { left: {}, right: {} };
  let preferred = null;
  for (const input of document.querySelectorAll("[data-row] input:checked")) {
    if (input.name === "preferred") {
      preferred = input.value;
    } else {
      const [side, scale] = input.name.split("-");
      scores[side][scale] = Number(input.value);
    }
  }
  return { n, scores, preferred, note: note.value };
}

function say(text, wrong = false) {
  status.classList.toggle("wrong", wrong);
  if (status.textContent !== text) status.textContent = text;
}

// --- keeping it -----------------------------------------------------------------------------------------------------
// One request at a time; what changed meanwhile goes with the next, so that an older state never overtakes a newer one.

let kept = JSON.stringify(filled());
let under = null;
let timer = 0;

async function send(body) {
  const reply = await fetch("/save", {
    method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: true,
  });
  const said = await reply.json().catch(() => ({ error: "this page is no longer let in; open the address in the terminal anew" }));
  if (!reply.ok) throw new Error(said.error);
  kept = body;
  rated = said.rated;
  at("done").textContent = said.done;
  at("progress").value = said.done;
  showReference();
}

async function keepAll() {
  while (JSON.stringify(filled()) !== kept) await send(JSON.stringify(filled()));
}

/** Keep what is filled in; true when all of it is on disk. */
async function keep() {
  clearTimeout(timer);
  under ??= keepAll().finally(() => { under = null; });
  try {
    await under;
    if (JSON.stringify(filled()) !== kept) return keep();
    const open = missing().length;
    say(open ? `Kept. ${open} still to fill in.` : "Kept.");
    return true;
  } catch (error) {
    const gone = error instanceof TypeError;
    say(`Not kept: ${gone ? "the command in the terminal has stopped; start it again" : error.message}`, true);
    return false;
  }
}

function changed(event) {
  const row = event.target.closest("[data-row]");
  if (row) row.classList.remove("missing");
  if (event.target.type === "radio") keep();
}

main.addEventListener("change", changed);
note.addEventListener("input", () => {
  clearTimeout(timer);
  timer = setTimeout(keep, 500);
});
addEventListener("pagehide", () => {
  const body = JSON.stringify(filled());
  if (body !== kept) fetch("/save", { method: "POST", headers: { "Content-Type": "application/json" }, body, keepalive: true });
});

// --- going on -------------------------------------------------------------------------------------------------------

async function leave(address) {
  if (await keep()) location.assign(address);
}

async function next() {
  const open = missing();
  if (!open.length) return leave(`/next?n=${n}`);
  if (!(await keep())) return;
  for (const row of rows) row.classList.toggle("missing", open.includes(row));
  mark(open[0]);
  say(`Still to fill in: ${open.map(nameOf).join(", ")}. Or skip it.`, true);
}

function nameOf(row) {
  const name = row.querySelector(".scale").textContent.toLowerCase();
  const of = row.closest(".answer");
  return of ? `${name} of ${of.querySelector("h2").textContent.toLowerCase()}` : "which is better";
}

at("next").addEventListener("click", next);
for (const id of ["back", "skip"]) {
  at(id).addEventListener("click", (event) => {
    event.preventDefault();
    if (at(id).getAttribute("aria-disabled") !== "true") leave(at(id).getAttribute("href"));
  });
}

// --- reference answer -----------------------------------------------------------------------------------------------

function showReference() {
  at("reference-when").textContent = rated || early ? "" : "(once both answers are rated)";
  if (!rated && !early) reference.open = false;
}

reference.addEventListener("toggle", async () => {
  if (!reference.open) return;
  if (!rated && !early) {
    reference.open = false;
    say("The reference answer is shown once both answers are rated.");
    return;
  }
  try {
    const reply = await fetch(`/reference?n=${n}`);
    const said = await reply.json();
    if (!reply.ok) throw new Error(said.error);
    at("reference-text").textContent = said.reference;
    reference.scrollIntoView({ block: "nearest" });
  } catch {
    reference.open = false;
    say("The reference answer could not be read; has the command in the terminal stopped?", true);
  }
});

// --- keys -----------------------------------------------------------------------------------------------------------

const current = () => document.activeElement?.closest?.("[data-row]") ?? null;

function mark(row) {
  const input = chosen(row) ?? row.querySelector("input");
  input.focus({ focusVisible: true });
  row.scrollIntoView({ block: "nearest" });
}

function choose(row, value) {
  const input = [...row.querySelectorAll("input")].find((one) => one.value === value);
  if (!input) return false;
  input.checked = true;
  input.dispatchEvent(new Event("change", { bubbles: true }));
  return true;
}

function score(digit) {
  const row = current() ?? missing()[0] ?? rows[0];
  if (!choose(row, digit)) return;
  mark(rows[rows.indexOf(row) + 1] ?? row);
}

function step(by) {
  const place = rows.indexOf(current());
  mark(rows[place < 0 ? 0 : Math.min(rows.length - 1, Math.max(0, place + by))]);
}

function prefer(value) {
  const row = rows[rows.length - 1];
  choose(row, value);
  mark(row);
}

function toggle(details) {
  details.open = !details.open;
  details.querySelector("summary").focus();
  details.scrollIntoView({ block: "nearest" });
}

function showHelp() {
  help.showModal();
  help.querySelector("button").focus();
}

const KEYS = {
  j: () => step(1), k: () => step(-1),
  f: () => prefer("left"), t: () => prefer("tie"), s: () => prefer("right"),
  n: () => note.focus(), p: () => toggle(at("passages")), r: () => toggle(reference),
  x: () => at("skip").click(), b: () => at("back").click(), "?": showHelp,
};

function onKey(event) {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || help.open) return;
  if (event.target === note) {
    if (event.key === "Escape") mark(rows[rows.length - 1]);
    return;
  }
  if (event.key === "Enter") {
    if (!event.target.closest("a, button, summary")) {
      event.preventDefault();
      next();
    }
    return;
  }
  if (!at("keys-on").checked) return;
  const action = /^[1-5]$/.test(event.key) ? () => score(event.key) : KEYS[event.key];
  if (!action) return;
  event.preventDefault();
  action();
}

document.addEventListener("keydown", onKey);
at("help-button").addEventListener("click", showHelp);
at("keys-on").addEventListener("change", () => localStorage.setItem("keys", at("keys-on").checked ? "on" : "off"));
at("keys-on").checked = localStorage.getItem("keys") !== "off";

// Ratings of this page that were changed elsewhere, or a page out of the browser's memory: read it anew.
addEventListener("pageshow", (event) => { if (event.persisted) location.reload(); });
showReference();
})();
