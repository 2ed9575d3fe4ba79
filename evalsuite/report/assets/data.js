// The one door to what was packed into the page: names and scores at once, texts when they are asked
// for. Whoever shows or searches a text asks here and waits, wherever the text lies.
//
//   await data.ready       the packed part is open; false when this browser can't open it
//   data.models, .tasks    names by number; data.games what games.js lists, null without games
//   data.rows(filter)      the samples' rows, all of them or those that `filter` accepts
//   await data.text(i)     the text of that number
//   data.items             what all models were asked: {t: task, d: the document's id}, task by task
//   data.score(item, m)    a model's score, null where it has none, undefined without an answer
//   await data.open(item)  {rows: each model's by its number, text: (number) -> the text}
//   await data.search(w)   (item) -> whether one of its texts holds `w`, in any case
//   await data.said(i)     a text of the judged games

const data = {
  models: [],
  tasks: [],
  texts: [],
  games: null,
  items: [],
  all: [],
  rows: (filter) => (filter ? data.all.filter(filter) : data.all),
  text: async (index) => data.texts[index],
  said: async (index) => data.texts[index],
  score: (item, model) => (data.of(item)[model] ? data.of(item)[model].s : undefined),
  open: async (item) => ({ rows: data.of(item), text: (index) => data.texts[index] }),
  search: async (wanted) => {
    const low = wanted.toLowerCase();
    const hits = new Map(); // each text is searched once
    const holds = (index) => {
      if (!hits.has(index)) hits.set(index, data.texts[index].toLowerCase().includes(low));
      return hits.get(index);
    };
    const held = (row) =>
      [row.prompt, row.target, ...(row.answers || []), ...(row.choices || []).map(([i]) => i)].some(holds);
    return (item) => Object.values(data.of(item)).some(held);
  },
  of: (item) => item.rows, // for this file alone
};

data.ready = (async () => {
  if (typeof DecompressionStream === "undefined") return false;
  const { rows, games = null, ...names } = await unpack(byId("texts"));
  Object.assign(data, names, { all: rows, games });
  const items = new Map();
  for (const row of rows) {
    const key = `${row.t}/${row.d}`;
    if (!items.has(key)) items.set(key, { t: row.t, d: row.d, rows: {} });
    items.get(key).rows[row.m] = row;
  }
  data.items = [...items.values()].sort((a, b) => a.t - b.t); // stable: documents keep their order
  return true;
})();
