// The one door to what was packed: names and rows at once, texts when they are asked for. Texts lie
// in parts, all models' answers to an item in one; a part is unpacked when something of it is shown.
// It stands in the page, or in a script of its own in report_data/ beside it: a page opened from a
// disk may load a classic script and nothing else.
//
//   await data.ready        the index is open; false when this browser can't open it
//   data.models, .tasks     names by number; data.games what games.js lists, null without games
//   data.rows(filter)       the samples' rows {m, t, d, s, item, at}: model, task, document, score
//                           (null without one), the item's number and the row's own; all of them
//                           or those that `filter` accepts, model by model
//   data.onItem(row)        the rows of all models on its item
//   data.peek(row)          the row with its texts if they are unpacked, else null: {prompt, target,
//                           metrics, choices, gold, picked, answers, extracted, cut}
//   await data.full(row)    the same, unpacked if need be; rejects with a line for people
//   data.searchRows(w, rows)  for await: {found, done, total}: the rows whose texts hold `w`, in any
//                           case, part by part
// and by item:
//   data.items              what all models were asked: {t, d, item}, task by task
//   data.score(item, m)     a model's score, null where it has none, undefined without an answer
//   await data.open(item)   {rows: each model's by its number, text: (number) -> the text}
//   await data.search(w)    (item) -> whether one of its texts holds `w`, in any case
//   await data.said(i)      a text of the judged games

const KEPT = 64; // parts that stay unpacked, about 1 MB each

const data = {
  models: [],
  tasks: [],
  games: null,
  all: [],
  rows: (filter) => (filter ? data.all.filter(filter) : data.all),
  onItem: ({ item }) => {
    const n = data.models.length;
    return [...data.places.subarray(item * n, item * n + n)].filter((at) => at >= 0).map((at) => data.all[at]);
  },
  peek: (row) => {
    const part = parts.get(data.shards[partOf(row)]);
    return part ? withTexts(row, part) : null;
  },
  full: async (row) => withTexts(row, await openPart(partOf(row))),
  searchRows,
  get items() {
    data.asked ||= askedItems();
    return data.asked;
  },
  score: ({ item }, m) => {
    const at = data.places[item * data.models.length + m];
    return at < 0 ? undefined : data.all[at].s;
  },
  open: async (item) => {
    const part = await openPart(partOf(item));
    const rows = {};
    for (const row of data.onItem(item)) rows[row.m] = { ...row, ...heldBy(part, row) };
    return { rows, text: (i) => part.texts[i] };
  },
  search: async (wanted) => {
    const found = new Set();
    for await (const step of searchRows(wanted, data.all)) step.found.forEach(({ item }) => found.add(item));
    return ({ item }) => found.has(item);
  },
  said: async (i) => data.games.texts[i],
};

data.ready = (async () => {
  if (typeof DecompressionStream === "undefined") return false;
  const { items, games = null, ...names } = await unpack(byId("texts").textContent);
  Object.assign(data, names, { games });
  const n = data.models.length;
  const counts = items.map(({ docs }) => (typeof docs === "number" ? docs : docs.length));
  const total = counts.reduce((a, b) => a + b, 0);
  data.places = new Int32Array(total * n).fill(-1); // where an item's row of a model stands
  for (let m = 0; m < n; m++) {
    let item = 0;
    items.forEach(({ docs, levels, scores }, t) => {
      for (let i = 0; i < counts[t]; i++, item++) {
        const s = levels ? levels[scores.charCodeAt(i * n + m) - 48] : scores[i * n + m];
        if (s === "") continue; // the model lacks the item
        const at = data.all.length;
        data.places[item * n + m] = at;
        data.all.push({ m, t, d: typeof docs === "number" ? i : docs[i], s, item, at });
      }
    });
  }
  return true;
})();

function askedItems() {
  const asked = new Array(data.places.length / Math.max(1, data.models.length));
  for (const { t, d, item } of data.all) asked[item] ||= { t, d, item };
  return asked;
}

// ---- parts --------------------------------------------------------------------------------------

const parts = new Map(); // unpacked ones by name, the one used last at the end
const opening = new Map(); // promises of those under way
const arriving = new Map(); // what a part's script is waited for by

globalThis.evalsuiteShard = (name, packed) => arriving.get(name)?.(packed);

/** The part that an item lies in: the last one that begins at or before it. */
function partOf({ item }) {
  let [low, high] = [0, data.firsts.length - 1];
  while (low < high) {
    const middle = (low + high + 1) >> 1;
    if (data.firsts[middle] <= item) low = middle;
    else high = middle - 1;
  }
  return low;
}

/** What a part holds of a row. */
const heldBy = (part, row) =>
  part.items[row.item - data.firsts[partOf(row)]].find(({ m }) => m === row.m);

function withTexts(row, part) {
  const its = heldBy(part, row);
  const read = (i) => part.texts[i];
  return {
    ...its,
    prompt: read(its.prompt),
    target: read(its.target),
    choices: its.choices && its.choices.map(([i, ...more]) => [read(i), ...more]),
    answers: (its.answers || []).map(read),
    extracted: (its.extracted || []).map(read),
  };
}

async function openPart(number) {
  const name = data.shards[number];
  let part = parts.get(name);
  if (!part) {
    if (!opening.has(name)) {
      opening.set(name, unpackPart(name).finally(() => opening.delete(name))); // a failed one is tried again
    }
    part = await opening.get(name);
  }
  parts.delete(name);
  parts.set(name, part);
  if (parts.size > KEPT) parts.delete(parts.keys().next().value);
  return part;
}

async function unpackPart(name) {
  const packed = await packedPart(name);
  try {
    return await unpack(packed);
  } catch (error) {
    throw new Error(`These texts can’t be opened: ${name} is damaged. Build the report again.`);
  }
}

async function packedPart(name) {
  const inside = byId(name);
  if (inside) return inside.textContent;
  const script = node("script", { src: `report_data/${name}` });
  try {
    return await new Promise((resolve, reject) => {
      arriving.set(name, resolve);
      const gone = () =>
        reject(
          new Error(
            `These texts can’t be opened: report_data/${name} does not lie beside this page. Copy the ` +
              "folder report_data with the page; if the report was built again meanwhile, reload.",
          ),
        );
      script.addEventListener("error", gone);
      script.addEventListener("load", gone); // without effect once the script has handed it over
      document.head.append(script);
    });
  } finally {
    arriving.delete(name);
    script.remove();
  }
}

// ---- search -------------------------------------------------------------------------------------

async function* searchRows(wanted, rows) {
  const low = wanted.toLowerCase();
  const byPart = new Map();
  for (const row of rows) {
    const number = partOf(row);
    if (!byPart.has(number)) byPart.set(number, []);
    byPart.get(number).push(row);
  }
  const numbers = [...byPart.keys()].sort((a, b) => a - b);
  if (!numbers.length) yield { found: [], done: 0, total: 0 };
  for (const [done, number] of numbers.entries()) {
    const part = await openPart(number);
    const hits = part.texts.map((text) => text.toLowerCase().includes(low));
    const holds = (row) => {
      const its = heldBy(part, row);
      return (
        String(row.d).toLowerCase() === low ||
        hits[its.prompt] ||
        hits[its.target] ||
        (its.answers || []).some((i) => hits[i]) ||
        (its.choices || []).some(([i]) => hits[i])
      );
    };
    yield { found: byPart.get(number).filter(holds), done: done + 1, total: numbers.length };
  }
}
