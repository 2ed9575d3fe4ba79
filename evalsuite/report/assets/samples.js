// The list of samples: what the models were asked and what they answered.

function browseSamples(data) {
  const { models, tasks, texts } = data;
  const rows = data.rows();
  const siblings = new Map(); // the rows of all models on an item

  const itemKey = (row) => `${row.t}/${row.d}`;

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
  function answer(row) {
    if (row.choices && row.choices.length > 1) {
      return row.picked == null ? "" : texts[row.choices[row.picked][0]].trim();
    }
    if (row.choices) return row.choices[0][2] ? "would write it" : "would write something else";
    return texts[(row.extracted || row.answers || [])[0]] || "";
  }

  /** The end of a prompt is the question; what stands before it are examples. */
  function question(row) {
    const text = texts[row.prompt].trimEnd();
    const blank = text.lastIndexOf("\n\n");
    const last = blank < 0 ? text : text.slice(blank + 2);
    return last.length > PREVIEW ? "…" + last.slice(-PREVIEW) : last;
  }

  function differ(row) {
    const rows = siblings.get(itemKey(row));
    return rows.some((other) => other.s !== row.s);
  }

  function accepts(values) {
    const [model, task, kind] = ["model", "task", "outcome"].map((name) => values.get(name));
    const wanted = values.get("text").trim().toLowerCase();
    const hits = search(texts, wanted);
    const found = (row) =>
      String(row.d).toLowerCase() === wanted ||
      hits[row.prompt] ||
      hits[row.target] ||
      (row.answers || []).some((i) => hits[i]) ||
      (row.choices || []).some(([i]) => hits[i]);
    return (row) =>
      (model === "" || row.m === Number(model)) &&
      (task === "" || row.t === Number(task)) &&
      (kind === "" || (kind === "differ" ? differ(row) : outcome(row) === kind)) &&
      (!hits || found(row));
  }

  // ---- one sample -------------------------------------------------------------------------------

  function choices(row) {
    const items = row.choices.map(([index, logprob], i) => {
      const gold = row.gold.includes(i);
      const picked = row.picked === i;
      const tags = [picked && "the model’s choice", gold && "right answer"].filter(Boolean);
      return node(
        "li",
        { class: `${gold ? "is-gold" : ""} ${picked ? "is-picked" : ""}` },
        node("pre", { dir: "auto" }, texts[index].trim() || texts[index]),
        node("span", { class: `tag ${gold ? "right" : "wrong"}` }, tags.join(", ")),
        node("span", { class: "logprob", title: "log-probability" }, logprob === null ? "−∞" : logprob.toFixed(3).replace("-", "−")),
      );
    });
    return node("ol", { class: "choices" }, ...items);
  }

  function others(row, address) {
    const rows = siblings.get(itemKey(row)).filter((other) => other !== row);
    if (!rows.length) return null;
    const items = rows.map((other) =>
      node(
        "li",
        {},
        node("a", { href: address(other) }, models[other.m]),
        verdict(other),
        node("span", { class: "clip", dir: "auto" }, answer(other).slice(0, PREVIEW)),
      ),
    );
    return part("Other models on this item", node("ul", { class: "others" }, ...items));
  }

  function fill(row, address) {
    const content = [];
    if (row.cut) {
      const many = row.cut === 1 ? "One request" : `${row.cut} requests`;
      content.push(
        node("p", { class: "note" }, `${many} lost the beginning: longer than the model’s context.`),
      );
    }
    // Examples stand before the question: begin at the question.
    const prompt = text(texts[row.prompt]);
    prompt.dataset.fromEnd = "";
    content.push(part("Prompt", prompt));
    if (row.choices && row.choices.length > 1) {
      content.push(part("Choices, with the log-probability that the model gives each", choices(row)));
      if (!row.gold.length) content.push(part("Target", text(texts[row.target])));
    } else {
      const own = row.choices
        ? [text(texts[row.choices[0][0]]), node("p", { class: "about" },
            `log-probability ${row.choices[0][1]}; ` +
            (row.choices[0][2] ? "the model would write exactly this." : "the model would write something else."))]
        : (row.answers || []).map((index) => text(texts[index]));
      const taken = (row.extracted || []).map((index) => text(texts[index]));
      content.push(
        node(
          "div",
          { class: "two" },
          part(row.choices ? "Continuation that was scored" : "Model’s answer", ...own),
          part("Target", text(texts[row.target]), ...(taken.length ? [node("h3", {}, "Taken from the answer"), ...taken] : [])),
        ),
      );
    }
    const names = Object.entries(row.metrics);
    if (names.length) {
      const pairs = names.map(([name, value]) =>
        node("div", {}, node("dt", {}, name), node("dd", {}, `${Number(value.toPrecision(6))}`)),
      );
      content.push(part("Metrics", node("dl", { class: "metrics" }, ...pairs)));
    }
    content.push(others(row, address));
    return {
      title: `${tasks[row.t]} ${row.d}`,
      about: [models[row.m], " · ", verdict(row)],
      content,
    };
  }

  for (const row of rows) {
    const key = itemKey(row);
    if (!siblings.has(key)) siblings.set(key, []);
    siblings.get(key).push(row);
  }
  const fields = byId("filters").elements;
  offer(fields.model, models);
  offer(fields.task, tasks);
  browse({
    one: "sample",
    many: "samples",
    what: "samples",
    rows,
    accepts,
    cells: (row) => [
      `${tasks[row.t]} ${row.d}`,
      verdict(row),
      models[row.m],
      clip(question(row)),
      clip(answer(row).slice(0, PREVIEW)),
    ],
    names: (row) => [models[row.m], tasks[row.t], row.d],
    narrow: ([model, task], form) => {
      form.model.value = numbered(models, model);
      form.task.value = numbered(tasks, task);
    },
    fill,
  });
}
