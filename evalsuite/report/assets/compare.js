// Two models against each other: differences by task as they were computed when the page was built,
// the items that one got right and the other wrong, side by side, and the judged games of the two.
//   #compare=first/second            chooses the two
//   #pair=first/second/task/item     opens one item of theirs
// How items are shown side by side is in pair.js, the games of the two are in duels.js.

/** A number of the page with a true minus sign. */
const minus = (value) => String(value).replace(/^-(0(\.0*)?)$/, "$1").replace("-", "−");
const signed = (value) => (value > 0 ? "+" : "") + minus(value);

/** A p value to four places. */
const probability = (p) => (p < 0.0001 ? "< 0.0001" : p.toFixed(p < 0.001 ? 4 : 3));

function compareModels(data) {
  const section = byId("compare");
  const form = byId("compare-models").elements;
  const { units, down, pairs, left } = data.contrasts;
  const names = data.models.slice(0, data.models.length - left);
  const table = byId("contrasts");
  const list = byId("pairs") ? browsePairs(data, chosen, down) : null;
  const duels = byId("duels") ? listDuels(data) : null;

  function chosen() {
    return [Number(form.a.value), Number(form.b.value)];
  }

  /** The pair's numbers, turned so that the first model comes first. */
  function numbers(a, b) {
    const its = pairs[a < b ? `${a}/${b}` : `${b}/${a}`];
    const turn = ([difference, low, high, p]) =>
      a < b ? [difference, low, high, p] : [difference, high, low].map((x) => (x === null ? null : -x)).concat(p);
    const tasks = Object.entries(its.tasks).map(([task, row]) => {
      const [n, one, two, difference, low, high, p, better, worse, asked] = row;
      const [d, l, h] = turn([difference, low, high, p]);
      return {
        task: Number(task), n, p, asked, difference: d, low: l, high: h,
        values: a < b ? [one, two] : [two, one],
        counts: a < b ? [better, worse] : [worse, better],
      };
    });
    return { overall: its.overall && turn(its.overall), tasks, without: its.without };
  }

  const share = (task) => units[task] === "share";
  const scaled = (task, value) =>
    value === null ? null : share(task) ? tenths(100 * value) : String(Number(value.toPrecision(4)));
  const told = (line) => line.p < 0.05;

  function verdict(its, a, b) {
    if (a === b) return "Choose two different models.";
    const [first, second] = [names[a], names[b]];
    const ahead = its.tasks.filter((line) => told(line) && line.difference > 0).length;
    const behind = its.tasks.filter((line) => told(line) && line.difference < 0).length;
    const open = its.tasks.length - ahead - behind;
    const tasks =
      ` By task: ${first} is ahead in ${ahead}, ${second} in ${behind}, ${open} ${open === 1 ? "is" : "are"} too close to call.`;
    if (!its.tasks.length) return "They have no task in common that can be compared item by item.";
    if (!its.overall) return `There is no overall difference: a task is missing for one of the two.${tasks}`;
    const [difference, low, high, p] = its.overall;
    const points = (value) => tenths(100 * value);
    const detail = `95 % interval ${minus(points(low))} to ${minus(points(high))}, p ${probability(p)}`;
    const surely = low > 0 || high < 0;
    const [better, other] = difference > 0 ? [first, second] : [second, first];
    if (surely) {
      const by = points(Math.abs(difference));
      return `${better} is ahead of ${other} by ${by} points overall (${detail}).${tasks}`;
    }
    return `Too close to call overall: the difference is ${signed(points(difference))} points (${detail}).${tasks}`;
  }

  // ---- the table ----------------------------------------------------------------------------------

  const svg = document.querySelector("svg.axis").namespaceURI; // of the leaderboard's own drawing

  function drawing(tag, attributes, ...children) {
    const made = document.createElementNS(svg, tag);
    for (const [name, value] of Object.entries(attributes)) made.setAttribute(name, value);
    made.append(...children);
    return made;
  }

  function whisker(line, most) {
    const at = (value) => `${(50 + (50 * Math.max(-most, Math.min(most, value))) / most).toFixed(2)}%`;
    const stroke = (kind, x1, y1, x2, y2) => drawing("line", { class: kind, x1, y1, x2, y2 });
    const parts = [stroke("grid", "50%", 0, "50%", 26)];
    if (line.low !== null) {
      parts.push(stroke("whisker", at(line.low), 13, at(line.high), 13));
      for (const end of [line.low, line.high]) parts.push(stroke("whisker", at(end), 8, at(end), 18));
    }
    parts.push(drawing("circle", { class: "dot", cx: at(line.difference), cy: 13, r: 5 }));
    const label = `difference ${signed(scaled(line.task, line.difference))}`;
    const kind = told(line) ? "chart leads" : "chart";
    return drawing("svg", { class: kind, width: "100%", height: 26, role: "img", "aria-label": label }, ...parts);
  }

  function count(line, side) {
    const shown = line.counts[side].toLocaleString("en");
    if (!list || !line.counts[side]) return shown;
    const about = `${shown} ${line.counts[side] === 1 ? "item" : "items"} of ${data.tasks[line.task]} where ${names[chosen()[side]]} is better`;
    const button = node("button", { type: "button", class: "link", "aria-label": about }, shown);
    button.addEventListener("click", () => list.narrow(line.task, side ? "b" : "a"));
    return button;
  }

  function cells(line, most) {
    const number = (value, shown, ...more) => node("td", { class: "n", "data-value": value ?? "" }, shown, ...more);
    const bounds = line.low === null ? "–" : `${minus(scaled(line.task, line.low))} to ${minus(scaled(line.task, line.high))}`;
    const unit = share(line.task) ? null : node("small", {}, units[line.task]);
    const asked = line.asked ? node("small", { class: "flag" }, `asked otherwise: ${line.asked}`) : null;
    return node(
      "tr",
      {},
      node("th", { scope: "row", class: "sticky" }, breakable(data.tasks[line.task]), asked),
      number(line.values[0], minus(scaled(line.task, line.values[0]))),
      number(line.values[1], minus(scaled(line.task, line.values[1]))),
      node("td", { class: "plot" }, share(line.task) ? whisker(line, most) : ""),
      number(line.difference, node(told(line) ? "b" : "span", {}, signed(scaled(line.task, line.difference))), unit),
      node("td", { class: "n" }, bounds),
      number(line.p, probability(line.p)),
      number(line.counts[0], count(line, 0)),
      number(line.counts[1], count(line, 1)),
      number(line.n, line.n.toLocaleString("en")),
    );
  }

  function missing([task, why]) {
    const rest = ["a", "b", "d", "p", "x", "y", "n"].map(() => node("td", { class: "n", "data-value": "" }, "–"));
    const name = node("th", { scope: "row", class: "sticky" }, breakable(data.tasks[task]), node("small", {}, why));
    rest.splice(2, 0, node("td", {}));
    rest.splice(4, 0, node("td", { class: "n" }, "–"));
    return node("tr", {}, name, ...rest);
  }

  /** A round number of points that holds every interval. */
  function widest(lines) {
    const ends = lines.filter((line) => share(line.task)).flatMap((line) => [line.low, line.high, line.difference]);
    const most = Math.max(0.02, ...ends.map((end) => Math.abs(end ?? 0)));
    return [0.02, 0.05, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 1].find((step) => step >= most) || 1;
  }

  function refresh() {
    const [a, b] = chosen();
    const its = a === b ? { tasks: [], without: {}, overall: null } : numbers(a, b);
    byId("compare-verdict").textContent = verdict(its, a, b);
    const most = widest(its.tasks);
    byId("contrast-scale").replaceChildren(
      ...[-most, 0, most].map((end) => node("span", {}, signed(Math.round(100 * end)))),
    );
    table.tHead.querySelector('[data-name="a"]').replaceChildren(breakable(names[a]));
    table.tHead.querySelector('[data-name="b"]').replaceChildren(breakable(names[b]));
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    table.tBodies[0].replaceChildren(
      ...its.tasks.map((line) => cells(line, most)),
      ...Object.entries(its.without).map(missing),
    );
    if (list) list.refresh(a, b);
    if (duels) duels(a, b);
  }

  function choose(first, second) {
    const [a, b] = [names.indexOf(first), names.indexOf(second)];
    if (a < 0 || b < 0) return false;
    form.a.value = a;
    form.b.value = b;
    refresh();
    return true;
  }

  function follow() {
    const match = /^#(\w+)=(.*)$/s.exec(location.hash);
    if (!match || !["compare", "pair"].includes(match[1])) {
      if (match && list) list.close(); // the link leads to something else
      return;
    }
    let parts;
    try {
      parts = match[2].split("/").map(decodeURIComponent);
    } catch {
      return; // a link that someone cut in the middle of an escape
    }
    const [first, second, task, doc] = parts;
    if (!choose(first, second)) {
      byId("compare-verdict").textContent = `${first} and ${second} are not compared on this page.`;
    }
    if (match[1] === "compare" || !list || !list.open(data.tasks.indexOf(task), doc)) {
      section.scrollIntoView();
    }
  }

  offer(form.a, names);
  offer(form.b, names);
  form.b.value = 1;
  for (const field of [form.a, form.b]) {
    field.addEventListener("change", () => {
      refresh();
      const address = chosen().map((model) => encodeURIComponent(names[model])).join("/");
      history.replaceState(null, "", `#compare=${address}`);
    });
  }
  byId("compare-swap").addEventListener("click", () => {
    [form.a.value, form.b.value] = [form.b.value, form.a.value];
    form.a.dispatchEvent(new Event("change"));
  });
  byId("compare-models").addEventListener("submit", (event) => event.preventDefault());
  addEventListener("hashchange", follow);
  refresh();
  follow();
}
