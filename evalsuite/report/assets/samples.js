// The list of samples: what the models were asked and what they answered.

function browseSamples(data) {
  const { models, tasks } = data;
  const rows = data.rows();

  function outcome(row) {
    if (row.s === null) return "none";
    if (row.s === 1) return "right";
    if (row.s === 0) return "wrong";
    return row.s > 0 && row.s < 1 ? "partly" : "none";
  }

  function verdict(row) {
    const kind = outcome(row);
    const words = {
      right: "✓ right",
      wrong: "✗ wrong",
      partly: `◐ ${row.s === null ? "" : row.s.toFixed(2)}`,
      none: row.s === null ? "– not scored" : `${Number(row.s.toPrecision(4))}`,
    };
    return node("span", { class: kind }, words[kind]);
  }

  /** The model's answer in a line: the choice it picked, or its own words. */
  function answer(full) {
    if (full.choices && full.choices.length > 1) {
      return full.picked == null ? "" : full.choices[full.picked][0].trim();
    }
    if (full.choices) return full.choices[0][2] ? "would write it" : "would write something else";
    return (full.extracted.length ? full.extracted : full.answers)[0] || "";
  }

  /** The end of a prompt is the question; what stands before it are examples. */
  function question(full) {
    const text = full.prompt.trimEnd();
    const blank = text.lastIndexOf("\n\n");
    const last = blank < 0 ? text : text.slice(blank + 2);
    return last.length > PREVIEW ? "…" + last.slice(-PREVIEW) : last;
  }

  const differ = (row) => data.onItem(row).some((other) => other.s !== row.s);

  function accepts(values) {
    const [model, task, kind] = ["model", "task", "outcome"].map((name) => values.get(name));
    return (row) =>
      (model === "" || row.m === Number(model)) &&
      (task === "" || row.t === Number(task)) &&
      (kind === "" || (kind === "differ" ? differ(row) : outcome(row) === kind));
  }

  // ---- one sample -------------------------------------------------------------------------------

  function choices(full) {
    const items = full.choices.map(([words, logprob], i) => {
      const gold = full.gold.includes(i);
      const picked = full.picked === i;
      const tags = [picked && "the model’s choice", gold && "right answer"].filter(Boolean);
      return node(
        "li",
        { class: `${gold ? "is-gold" : ""} ${picked ? "is-picked" : ""}` },
        node("pre", { dir: "auto" }, words.trim() || words),
        node("span", { class: `tag ${gold ? "right" : "wrong"}` }, tags.join(", ")),
        node("span", { class: "logprob", title: "log-probability" }, logprob === null ? "−∞" : logprob.toFixed(3).replace("-", "−")),
      );
    });
    return node("ol", { class: "choices" }, ...items);
  }

  function others(row, address) {
    const rows = data.onItem(row).filter((other) => other !== row);
    if (!rows.length) return null;
    const page = location.href.split("#")[0]; // in full: it is no jump within what is shown
    const items = rows.map((other) => {
      const full = data.peek(other); // its texts lie with the row's own
      return node(
        "li",
        {},
        node("a", { href: page + address(other) }, models[other.m]),
        verdict(other),
        clip(full ? answer(full).slice(0, PREVIEW) : ""),
      );
    });
    return part("Other models on this item", node("ul", { class: "others" }, ...items));
  }

  function fill(row, full, address) {
    const content = [];
    if (full.cut) {
      const many = full.cut === 1 ? "One request" : `${full.cut} requests`;
      content.push(
        node("p", { class: "note" }, `${many} lost the beginning: longer than the model’s context.`),
      );
    }
    // Examples stand before the question: begin at the question.
    const prompt = text(full.prompt);
    prompt.dataset.fromEnd = "";
    content.push(part("Prompt", prompt));
    if (full.choices && full.choices.length > 1) {
      content.push(part("Choices, with the log-probability that the model gives each", choices(full)));
      if (!full.gold.length) content.push(part("Target", text(full.target)));
    } else {
      const own = full.choices
        ? [text(full.choices[0][0]), node("p", { class: "about" },
            `log-probability ${full.choices[0][1]}; ` +
            (full.choices[0][2] ? "the model would write exactly this." : "the model would write something else."))]
        : full.answers.map(text);
      const taken = full.extracted.map(text);
      content.push(
        node(
          "div",
          { class: "two" },
          part(full.choices ? "Continuation that was scored" : "Model’s answer", ...own),
          part("Target", text(full.target), ...(taken.length ? [node("h3", {}, "Taken from the answer"), ...taken] : [])),
        ),
      );
    }
    const names = Object.entries(full.metrics);
    if (names.length) {
      const pairs = names.map(([name, value]) =>
        node("div", {}, node("dt", {}, name), node("dd", {}, `${Number(value.toPrecision(6))}`)),
      );
      content.push(part("Metrics", node("dl", { class: "metrics" }, ...pairs)));
    }
    content.push(others(row, address));
    return content;
  }

  /** A link's row: of many thousands, so no row's names are made to compare them. */
  function locate([model, task, doc, ...more]) {
    const [m, t] = [models.indexOf(model), tasks.indexOf(task)];
    if (m < 0 || t < 0 || more.length) return undefined;
    return rows.find((row) => row.m === m && row.t === t && String(row.d) === doc);
  }

  const fields = byId("filters").elements;
  offer(fields.model, models);
  offer(fields.task, tasks);
  return browse({
    one: "sample",
    many: "samples",
    what: "samples",
    rows,
    accepts,
    cells: (row, full) => [
      `${tasks[row.t]} ${row.d}`,
      verdict(row),
      models[row.m],
      clip(full ? question(full) : "…"),
      clip(full ? answer(full).slice(0, PREVIEW) : "…"),
    ],
    names: (row) => [models[row.m], tasks[row.t], row.d],
    locate,
    peek: data.peek,
    full: data.full,
    search: data.searchRows,
    narrow: ([model, task], form) => {
      form.model.value = numbered(models, model);
      form.task.value = numbered(tasks, task);
    },
    head: (row) => ({
      title: `${tasks[row.t]} ${row.d}`,
      about: [models[row.m], " · ", verdict(row)],
    }),
    fill,
  });
}
