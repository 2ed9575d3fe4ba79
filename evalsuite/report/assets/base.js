// What every part of the page's script stands on: making elements, sorting tables, unpacking texts.
// The parts are joined into one script when the page is built. Texts reach the page by textContent
// alone: what a model wrote is never markup.

const byId = (id) => document.getElementById(id);

/** An element with attributes; children are elements or texts, and texts stay texts. */
function node(tag, attributes, ...children) {
  const made = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes || {})) {
    if (value === true) made.setAttribute(name, "");
    else if (value !== false && value != null) made.setAttribute(name, value);
  }
  made.append(...children.filter((child) => child != null));
  return made;
}

/** A name that a narrow column may break after its signs, not in the middle of a word. */
function breakable(name) {
  const parts = name.match(/[^_/.@:-]*[_/.@:-]+|[^_/.@:-]+/g) || [];
  return node("span", {}, ...parts.flatMap((part) => [part, node("wbr", {})]).slice(0, -1));
}

/** Points with one decimal, halves to the even digit: as the page's other numbers were written. */
function tenths(value) {
  const half = Number.isInteger(value * 4) && !Number.isInteger(value * 2); // 71.25 is one exactly
  return (half ? (2 * Math.round(value * 5)) / 10 : value).toFixed(1);
}

// ---- tables ---------------------------------------------------------------------------------

for (const table of document.querySelectorAll("table[data-sortable]")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = head.querySelector("button");
    if (button) button.addEventListener("click", () => sort(table, heads, column));
  });
}

function sort(table, heads, column) {
  const head = heads[column];
  const text = head.dataset.kind === "text";
  const first = text ? "ascending" : "descending";
  const second = text ? "descending" : "ascending";
  const order = head.getAttribute("aria-sort") === first ? second : first;
  const sign = order === "ascending" ? 1 : -1;
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const key = (row) => {
    const cell = row.cells[column];
    if (text) return cell.textContent.trim();
    return cell.dataset.value === "" ? null : Number(cell.dataset.value);
  };
  const rows = [...table.tBodies[0].rows].map((row) => [key(row), row]);
  rows.sort(([a], [b]) => {
    if (a === null || b === null) return (a === null) - (b === null); // missing stays last
    return sign * (text ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  });
  table.tBodies[0].append(...rows.map(([, row]) => row));
}

let opened = []; // a printed page shows what is folded on the screen
addEventListener("beforeprint", () => {
  opened = [...document.querySelectorAll("details:not([open])")];
  opened.forEach((part) => (part.open = true));
});
addEventListener("afterprint", () => opened.forEach((part) => (part.open = false)));

// ---- packed texts -------------------------------------------------------------------------------

async function unpack(encoded) {
  let bytes;
  if (Uint8Array.fromBase64) {
    bytes = Uint8Array.fromBase64(encoded);
  } else {
    const binary = atob(encoded);
    bytes = new Uint8Array(binary.length);
    for (let i = 0; i < binary.length; i++) bytes[i] = binary.charCodeAt(i);
  }
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return JSON.parse(await new Response(stream).text());
}

/** A text in a frame that scrolls, as it was written. */
const text = (value) =>
  node("div", { class: "text", tabindex: "0" }, node("pre", { dir: "auto" }, value));

/** A part of a dialog under its heading. */
const part = (heading, ...content) => node("section", {}, node("h3", {}, heading), ...content);
