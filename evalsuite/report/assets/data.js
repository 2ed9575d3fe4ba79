// The one door to what was packed into the page: names and rows at once, texts when they are asked
// for. Whoever shows or searches a text asks here and waits, wherever the text lies.
//
//   await data.ready     the packed part is open; false when this browser can't open it
//   data.models, .tasks  names by number; data.games what games.js lists, null without games
//   data.rows(filter)    the samples' rows, all of them or those that `filter` accepts
//   await data.text(i)   the text of that number
//   await data.search(w) (number) -> whether its text holds `w`, in any case

const data = {
  models: [],
  tasks: [],
  texts: [],
  games: null,
  all: [],
  rows: (filter) => (filter ? data.all.filter(filter) : data.all),
  text: async (index) => data.texts[index],
  search: async (wanted) => {
    const low = wanted.toLowerCase();
    const hits = new Map(); // each text is searched once
    return (index) => {
      if (!hits.has(index)) hits.set(index, data.texts[index].toLowerCase().includes(low));
      return hits.get(index);
    };
  },
};

data.ready = (async () => {
  if (typeof DecompressionStream === "undefined") return false;
  const { rows, games = null, ...names } = await unpack(byId("texts"));
  Object.assign(data, names, { all: rows, games });
  return true;
})();
