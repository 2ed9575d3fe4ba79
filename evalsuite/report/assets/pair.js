// The items that both chosen models answered: a list with filters, and one of them side by side with
// its prompt, target, choices and answers. `chosen` gives the two models' numbers, `down` the tasks
// where less is better. Texts are asked of data.open, item by item.

function browsePairs(data, chosen, down) {
  const section = byId("pairs");
  const form = byId("pair-filters");
  const status = byId("pair-status");
  const table = byId("pair-list");
  const pager = byId("pair-pager");
  const dialog = byId("pair");
  const [title, about, content] = ["title", "about", "body"].map((name) => byId(`pair-${name}`));
  const state = { shown: [], page: 0, open: -1, asked: 0 };
  const lower = new Set(down);

  function mark(score) {
    if (score === undefined || score === null) return node("span", {}, score === null ? "– not scored" : "– no answer");
    if (score === 1) return node("span", { class: "right" }, "✓ right");
    if (score === 0) return node("span", { class: "wrong" }, "✗ wrong");
    if (score > 0 && score < 1) return node("span", { class: "partly" }, `◐ ${score.toFixed(2)}`);
    return node("span", {}, String(Number(score.toPrecision(4))));
  }

  /** Above 0 where the first model is better on an item, below 0 where the second is. */
  function lead(item) {
    const [one, two] = chosen().map((model) => data.score(item, model));
    if (one === null || two === null) return 0;
    return (lower.has(item.t) ? -1 : 1) * Math.sign(one - two);
  }

  function answered(item) {
    return chosen().every((model) => data.score(item, model) !== undefined);
  }

  const kinds = {
    "": () => true,
    differ: (item) => lead(item) !== 0,
    a: (item) => lead(item) > 0,
    b: (item) => lead(item) < 0,
    right: (item) => chosen().every((model) => data.score(item, model) === 1),
    wrong: (item) => chosen().every((model) => data.score(item, model) === 0),
  };

  async function refresh() {
    const asked = ++state.asked;
    const values = new FormData(form);
    const [task, kind] = [values.get("task"), kinds[values.get("outcome")]];
    const wanted = values.get("text").trim();
    let found = null;
    try {
      if (wanted) found = await data.search(wanted);
    } catch (error) {
      if (asked === state.asked) status.textContent = error.message;
      return;
    }
    if (asked !== state.asked) return; // something else was chosen meanwhile
    state.shown = data.items.filter(
      (item) =>
        (task === "" || item.t === Number(task)) &&
        answered(item) &&
        kind(item) &&
        (!found || String(item.d) === wanted || found(item)),
    );
    state.page = 0;
    render();
  }

  function render() {
    const { shown, page } = state;
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const start = page * PAGE;
    table.tBodies[0].replaceChildren(...shown.slice(start, start + PAGE).map((item, i) => line(item, start + i)));
    [...table.tHead.rows[0].cells].slice(2).forEach((head, i) => (head.textContent = data.models[chosen()[i]]));
    const total = data.items.filter(answered).length.toLocaleString("en");
    status.textContent = `${shown.length.toLocaleString("en")} of ${total} items that both answered.`;
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `Page ${page + 1} of ${pages}`;
    pager.querySelector('[data-step="-1"]').disabled = page === 0;
    pager.querySelector('[data-step="1"]').disabled = page === pages - 1;
  }

  function line(item, index) {
    const open = node("button", { type: "button" }, `${data.tasks[item.t]} ${item.d}`);
    const two = chosen();
    const [question, ...answers] = ["", "", ""].map((words) => clip(words));
    const marks = two.map((model) => mark(data.score(item, model)));
    const made = node(
      "tr",
      {},
      node("td", {}, open),
      node("td", {}, question),
      ...two.map((_, i) => node("td", {}, marks[i], " ", answers[i])),
    );
    made.addEventListener("click", () => show(index));
    const fill = ({ rows, text: read }) => {
      question.textContent = asking(read(rows[two[0]].prompt));
      two.forEach((model, i) => (answers[i].textContent = answer(rows[model], read).slice(0, PREVIEW)));
    };
    data.open(item).then(fill, () => (question.textContent = "(not to be opened)")); // opening it says why
    return made;
  }

  /** The end of a prompt is the question; what stands before it are examples. */
  function asking(prompt) {
    const whole = prompt.trimEnd();
    const last = whole.slice(whole.lastIndexOf("\n\n") + 1).trimStart();
    return last.length > PREVIEW ? "…" + last.slice(-PREVIEW) : last;
  }

  /** A model's answer in a line: the choice it picked, or its own words. */
  function answer(row, read) {
    if (row.choices && row.choices.length > 1) return row.picked == null ? "" : read(row.choices[row.picked][0]).trim();
    if (row.choices) return row.choices[0][2] ? "would write it" : "would write something else";
    const first = (row.extracted || row.answers || [])[0];
    return first === undefined ? "" : read(first);
  }

  // ---- one item, side by side ---------------------------------------------------------------------

  const logprob = (value) => (value === null ? "−∞" : minus(value.toFixed(3)));

  /** One heading and content where both models have the same, else one each. */
  function shared(heading, numbers, read, fromEnd) {
    const frame = (number) => {
      const made = text(read(number));
      if (fromEnd) made.dataset.fromEnd = "";
      return made;
    };
    if (numbers[0] === numbers[1]) return part(heading, frame(numbers[0]));
    const each = chosen().map((model, i) => part(`${heading}, ${data.models[model]}`, frame(numbers[i])));
    return node("div", { class: "two" }, ...each);
  }

  function sameChoices([one, two]) {
    return (
      one.choices && two.choices && one.choices.length === two.choices.length &&
      one.choices.every(([index], i) => index === two.choices[i][0])
    );
  }

  /** Choices in one table: the log-probability that each model gives them, its pick marked. */
  function choices(rows, read) {
    const line = ([index], i) => {
      const gold = rows.some((row) => (row.gold || []).includes(i));
      const given = rows.map((row) => {
        const picked = row.picked === i;
        const kind = picked ? (gold ? "n is-gold" : "n is-picked") : "n";
        return node("td", { class: kind }, logprob(row.choices[i][1]), picked ? node("small", {}, "its choice") : null);
      });
      const words = node("pre", { dir: "auto" }, read(index).trim() || read(index));
      const right = gold ? node("small", { class: "right" }, "right answer") : null;
      return node("tr", {}, node("th", { scope: "row" }, words, right), ...given);
    };
    const heads = chosen().map((model) => node("th", { scope: "col", class: "n" }, data.models[model]));
    return part(
      "Choices, with the log-probability that each model gives them",
      node(
        "div",
        { class: "scroll" },
        node(
          "table",
          { class: "plain sides" },
          node("caption", { class: "hidden" }, "Log-probabilities of the choices"),
          node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Choice"), ...heads)),
          node("tbody", {}, ...rows[0].choices.map(line)),
        ),
      ),
    );
  }

  function own(row, model, score, read) {
    const parts = [];
    if (row.choices) {
      for (const [index, value] of row.choices) parts.push(text(read(index)), node("p", { class: "about" }, `log-probability ${logprob(value)}`));
    }
    for (const index of row.answers || []) parts.push(text(read(index)));
    for (const index of row.extracted || []) parts.push(node("h4", {}, "Taken from the answer"), text(read(index)));
    if (row.cut) parts.push(node("p", { class: "note" }, "The prompt lost its beginning: longer than the model’s context."));
    const made = part(`${data.models[model]} `, ...parts);
    made.querySelector("h3").append(mark(score));
    return made;
  }

  function metrics(rows) {
    const names = [...new Set(rows.flatMap((row) => Object.keys(row.metrics)))];
    if (!names.length) return null;
    const value = (row, name) => (name in row.metrics ? String(Number(row.metrics[name].toPrecision(6))) : "–");
    const lines = names.map((name) =>
      node("tr", {}, node("th", { scope: "row" }, name), ...rows.map((row) => node("td", { class: "n" }, value(row, name)))),
    );
    const heads = chosen().map((model) => node("th", { scope: "col", class: "n" }, data.models[model]));
    return part(
      "Metrics",
      node(
        "table",
        { class: "plain sides" },
        node("caption", { class: "hidden" }, "Metrics of the item"),
        node("thead", {}, node("tr", {}, node("th", { scope: "col" }, "Metric"), ...heads)),
        node("tbody", {}, ...lines),
      ),
    );
  }

  async function show(index) {
    const item = state.shown[index];
    const two = chosen();
    state.open = index;
    title.textContent = `${data.tasks[item.t]} ${item.d}`;
    about.textContent = two.map((model) => data.models[model]).join(" and ");
    content.replaceChildren(node("p", { class: "about" }, "Opening …"));
    if (!dialog.open) {
      dialog.showModal();
      title.focus();
    }
    for (const by of [-1, 1]) {
      dialog.querySelector(`.steps [data-step="${by}"]`).disabled = !state.shown[index + by];
    }
    history.replaceState(null, "", address("pair", item));
    let opened;
    try {
      opened = await data.open(item);
    } catch (error) {
      opened = error;
    }
    if (state.open !== index || state.shown[index] !== item) return; // another one was opened meanwhile
    if (opened instanceof Error) {
      content.replaceChildren(node("p", { class: "note", role: "alert" }, opened.message));
      return;
    }
    const { rows: every, text: read } = opened;
    const rows = two.map((model) => every[model]);
    const several = sameChoices(rows) && rows[0].choices.length > 1;
    const sides = two.map((model, i) => own(several ? { ...rows[i], choices: null } : rows[i], model, data.score(item, model), read));
    const links = two.map((model) => {
      const place = [data.models[model], data.tasks[item.t], item.d].map((name) => encodeURIComponent(name)).join("/");
      return node("a", { href: `${location.href.split("#")[0]}#sample=${place}` }, `${data.models[model]}’s sample alone`);
    });
    content.replaceChildren(
      ...[
        shared("Prompt", rows.map((row) => row.prompt), read, true),
        shared("Target", rows.map((row) => row.target), read),
        several ? choices(rows, read) : null,
        node("div", { class: "two" }, ...sides),
        metrics(rows),
        node("p", { class: "about" }, ...links.flatMap((link) => [link, " "])),
      ].filter(Boolean),
    );
    dialog.scrollTop = 0;
    for (const frame of content.querySelectorAll("[data-from-end]")) frame.scrollTop = frame.scrollHeight;
  }

  function address(kind, item) {
    const parts = [...chosen().map((model) => data.models[model]), ...(item ? [data.tasks[item.t], item.d] : [])];
    return `#${kind}=` + parts.map((name) => encodeURIComponent(name)).join("/");
  }

  function step(by) {
    if (state.shown[state.open + by]) show(state.open + by);
  }

  function flip(by) {
    state.page += by;
    render();
  }

  function closed() {
    state.open = -1;
    if (location.hash.startsWith("#pair=")) history.replaceState(null, "", address("compare"));
  }

  /** Opens an item by its task's number and its id; false when it is not here. */
  function open(task, doc) {
    const wanted = (item) => item.t === task && String(item.d) === doc && answered(item);
    state.asked++; // whatever was asked of the filters is overtaken by the link
    form.elements.task.value = form.elements.outcome.value = form.elements.text.value = "";
    state.shown = data.items.filter(answered);
    const index = state.shown.findIndex(wanted);
    state.page = Math.max(0, Math.floor(index / PAGE));
    render();
    if (index < 0) {
      status.textContent = "The item of the link is not on this page.";
      return false;
    }
    show(index);
    return true;
  }

  function narrow(task, outcome) {
    form.elements.task.value = task;
    form.elements.outcome.value = outcome;
    form.elements.text.value = "";
    refresh();
    section.scrollIntoView();
    form.elements.task.focus({ preventScroll: true });
  }

  operate({ section, form, pager, dialog }, { step, flip, refresh, closed });
  offer(form.elements.task, data.tasks);
  return { refresh, open, narrow, close: () => dialog.open && dialog.close() };
}
