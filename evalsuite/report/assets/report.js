"use strict";
// The report's behaviour: sorting tables, and opening samples. Everything else on the page works
// without it. Texts reach the page by textContent alone: what a model wrote is never markup.
(() => {
  const PAGE = 50; // samples on a page of the list
  const PREVIEW = 240; // characters of a text in the list

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

  // ---- samples --------------------------------------------------------------------------------

  const status = byId("status");
  const form = byId("filters");
  if (!form) return;
  const list = byId("list");
  const body = list.tBodies[0];
  const pager = byId("pager");
  const dialog = byId("sample");
  const state = { data: null, shown: [], page: 0, open: -1, siblings: new Map() };

  async function unpack(element) {
    const encoded = element.textContent;
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
    const texts = state.data.texts;
    if (row.choices && row.choices.length > 1) {
      return row.picked == null ? "" : texts[row.choices[row.picked][0]].trim();
    }
    if (row.choices) return row.choices[0][2] ? "would write it" : "would write something else";
    return texts[(row.extracted || row.answers || [])[0]] || "";
  }

  /** The end of a prompt is the question; what stands before it are examples. */
  function question(row) {
    const text = state.data.texts[row.prompt].trimEnd();
    const blank = text.lastIndexOf("\n\n");
    const last = blank < 0 ? text : text.slice(blank + 2);
    return last.length > PREVIEW ? "…" + last.slice(-PREVIEW) : last;
  }

  function differ(row) {
    const rows = state.siblings.get(itemKey(row));
    return rows.some((other) => other.s !== row.s);
  }

  function matches() {
    const { rows, texts } = state.data;
    const values = new FormData(form);
    const [model, task] = [values.get("model"), values.get("task")];
    const kind = values.get("outcome");
    const search = values.get("text").trim().toLowerCase();
    // Texts are shared between rows: each is searched once.
    const hits = search ? texts.map((text) => text.toLowerCase().includes(search)) : null;
    const found = (row) =>
      String(row.d).toLowerCase() === search ||
      hits[row.prompt] ||
      hits[row.target] ||
      (row.answers || []).some((i) => hits[i]) ||
      (row.choices || []).some(([i]) => hits[i]);
    return rows.filter(
      (row) =>
        (model === "" || row.m === Number(model)) &&
        (task === "" || row.t === Number(task)) &&
        (kind === "" || (kind === "differ" ? differ(row) : outcome(row) === kind)) &&
        (!hits || found(row)),
    );
  }

  function refresh() {
    state.shown = matches();
    state.page = 0;
    render();
  }

  function render() {
    const { data, shown } = state;
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const start = state.page * PAGE;
    const part = shown.slice(start, start + PAGE);
    body.replaceChildren(
      ...part.map((row, i) => {
        const open = node("button", { type: "button" }, `${data.tasks[row.t]} ${row.d}`);
        const made = node(
          "tr",
          {},
          node("td", {}, open),
          node("td", {}, verdict(row)),
          node("td", {}, data.models[row.m]),
          node("td", {}, node("span", { class: "clip", dir: "auto" }, question(row))),
          node("td", {}, node("span", { class: "clip", dir: "auto" }, answer(row).slice(0, PREVIEW))),
        );
        made.addEventListener("click", () => show(start + i));
        return made;
      }),
    );
    const total = data.rows.length.toLocaleString("en");
    status.textContent =
      shown.length === data.rows.length
        ? `${total} samples.`
        : `${shown.length.toLocaleString("en")} of ${total} samples.`;
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `Page ${state.page + 1} of ${pages}`;
    pager.querySelector('[data-step="-1"]').disabled = state.page === 0;
    pager.querySelector('[data-step="1"]').disabled = state.page === pages - 1;
  }

  // ---- one sample -----------------------------------------------------------------------------

  const text = (value) =>
    node("div", { class: "text", tabindex: "0" }, node("pre", { dir: "auto" }, value));
  const part = (heading, ...content) => node("section", {}, node("h3", {}, heading), ...content);

  function choices(row) {
    const texts = state.data.texts;
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

  function others(row) {
    const { data } = state;
    const rows = state.siblings.get(itemKey(row)).filter((other) => other !== row);
    if (!rows.length) return null;
    const items = rows.map((other) =>
      node(
        "li",
        {},
        node("a", { href: address(other) }, data.models[other.m]),
        verdict(other),
        node("span", { class: "clip", dir: "auto" }, answer(other).slice(0, PREVIEW)),
      ),
    );
    return part("Other models on this item", node("ul", { class: "others" }, ...items));
  }

  function fill(row) {
    const { data } = state;
    const texts = data.texts;
    const content = [];
    byId("sample-title").textContent = `${data.tasks[row.t]} ${row.d}`;
    byId("sample-about").replaceChildren(data.models[row.m], " · ", verdict(row));
    if (row.cut) {
      const many = row.cut === 1 ? "One request" : `${row.cut} requests`;
      content.push(
        node("p", { class: "note" }, `${many} lost the beginning: longer than the model’s context.`),
      );
    }
    content.push(part("Prompt", text(texts[row.prompt])));
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
    content.push(others(row));
    byId("sample-body").replaceChildren(...content.filter(Boolean));
    // Examples stand before the question: begin at the question.
    const prompt = byId("sample-body").querySelector(".text");
    if (prompt) prompt.scrollTop = prompt.scrollHeight;
  }

  const address = (row) =>
    "#sample=" +
    [state.data.models[row.m], state.data.tasks[row.t], row.d]
      .map((name) => encodeURIComponent(name))
      .join("/");

  function show(index) {
    const row = state.shown[index];
    state.open = index;
    if (!dialog.open) dialog.showModal();
    fill(row);
    dialog.scrollTop = 0;
    dialog.querySelector('.steps [data-step="-1"]').disabled = index <= 0;
    dialog.querySelector('.steps [data-step="1"]').disabled = index >= state.shown.length - 1;
    history.replaceState(null, "", address(row));
  }

  function step(by) {
    const next = state.open + by;
    if (next >= 0 && next < state.shown.length) show(next);
  }

  function clear() {
    for (const field of form.elements) if (field.name) field.value = "";
  }

  /** Follows #sample=model/task/item and #samples=model/task. */
  function follow() {
    const match = /^#(samples?)=(.*)$/s.exec(location.hash);
    if (!match || !state.data) return;
    let names;
    try {
      names = match[2].split("/").map(decodeURIComponent);
    } catch {
      return; // a link that someone cut in the middle of an escape
    }
    const model = state.data.models.indexOf(names[0]);
    const task = state.data.tasks.indexOf(names[1]);
    if (match[1] === "samples") {
      clear();
      form.elements.model.value = model < 0 ? "" : String(model);
      form.elements.task.value = task < 0 ? "" : String(task);
      refresh();
      byId("samples").scrollIntoView();
      return;
    }
    const wanted = (row) => row.m === model && row.t === task && String(row.d) === names[2];
    if (state.shown.findIndex(wanted) < 0) {
      clear();
      refresh();
    }
    const index = state.shown.findIndex(wanted);
    if (index < 0) {
      status.textContent = `The sample ${names.join(" / ")} is not on this page.`;
      byId("samples").scrollIntoView();
      return;
    }
    state.page = Math.floor(index / PAGE);
    render();
    show(index);
  }

  dialog.addEventListener("close", () => history.replaceState(null, "", "#samples"));
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === dialog || (button && "close" in button.dataset)) dialog.close();
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest(".text")) return; // arrows scroll there
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  pager.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    state.page += Number(button.dataset.step);
    render();
    byId("samples").scrollIntoView();
  });
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(refresh));
  addEventListener("hashchange", follow);

  async function start() {
    if (typeof DecompressionStream === "undefined") {
      status.textContent = "This browser is too old to unpack the samples; they are in the run’s folder.";
      return;
    }
    state.data = await unpack(byId("sample-data"));
    const { models, tasks, rows } = state.data;
    models.forEach((name, i) => form.elements.model.append(node("option", { value: i }, name)));
    tasks.forEach((name, i) => form.elements.task.append(node("option", { value: i }, name)));
    for (const row of rows) {
      const key = itemKey(row);
      if (!state.siblings.has(key)) state.siblings.set(key, []);
      state.siblings.get(key).push(row);
    }
    refresh();
    follow();
    document.documentElement.dataset.ready = "yes";
  }
  start();
})();
