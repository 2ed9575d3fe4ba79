// A list of things with filters, pages, a dialog that shows one, and links to any of them. Samples
// and games are two such lists; what differs between them is in `kind`:
//   one, many  the names in links: #sample=a/b/c opens one, #samples=a/b filters the list
//   what       the many in words
//   rows       all of them
//   accepts    (values of the filters) -> (row) -> whether the row is to be shown
//   cells      (row, full) -> the contents of its five columns; the first becomes its button
//   names      (row) -> the parts of its link
//   locate     (parts of a link) -> its row, undefined when there is none
//   narrow     (parts of a #samples link, fields of the form): sets the filters
//   head       (row) -> {title, about} of the dialog
//   fill       (row, full, address) -> its content
// and, for rows whose texts lie elsewhere (else full is the row itself):
//   peek, full, search   as data.js's of samples (search is its searchRows); while they are not there `full` is null in cells

const PAGE = 50; // rows on a page of a list
const PREVIEW = 240; // characters of a text in a list

/** A text's beginning in a list. */
const clip = (value) => node("span", { class: "clip", dir: "auto" }, value);

function browse(kind) {
  const section = byId(kind.many);
  const form = section.querySelector("form");
  const status = section.querySelector(".status");
  const body = section.querySelector(".list").tBodies[0];
  const pager = section.querySelector(".pager");
  const dialog = byId(kind.one);
  const [title, about, content] = ["title", "about", "body"].map((n) => byId(`${kind.one}-${n}`));
  const state = { shown: [], page: 0, open: -1, turn: 0, searched: "" };
  const peek = kind.peek || ((row) => row);

  const address = (row) =>
    `#${kind.one}=` + kind.names(row).map((name) => encodeURIComponent(name)).join("/");

  /** What the filters leave; what a search finds comes part by part. */
  async function refresh() {
    const turn = ++state.turn;
    const values = new FormData(form);
    const rows = kind.rows.filter(kind.accepts(values));
    const wanted = values.get("text").trim();
    state.page = 0;
    state.searched = "";
    if (!wanted || !kind.search) {
      state.shown = rows;
      return render();
    }
    state.shown = [];
    let drawn = 0;
    try {
      for await (const { found, done, total } of kind.search(wanted, rows)) {
        if (turn !== state.turn) return null; // another search has begun
        if (found.length) state.shown = state.shown.concat(found).sort((a, b) => a.at - b.at);
        state.searched = done < total ? ` Searched ${done} of ${total} parts …` : "";
        if (done === total || performance.now() - drawn > 300) {
          render();
          drawn = performance.now();
        }
      }
    } catch (error) {
      if (turn !== state.turn) return null;
      state.searched = ` ${error.message}`;
      render();
    }
    return null;
  }

  /** Draws a page of the list; the promise is kept once its texts are there. */
  function render() {
    const { shown } = state;
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const start = state.page * PAGE;
    const drawn = shown.slice(start, start + PAGE).map((row, i) => {
      const made = node("tr", {});
      const fill = (full) => {
        const [first, ...others] = kind.cells(row, full).map((cell) => node("td", {}, cell));
        if (made.cells.length) made.replaceChildren(made.cells[0], ...others); // its button may have the focus
        else {
          first.replaceChildren(node("button", { type: "button" }, ...first.childNodes));
          made.append(first, ...others);
        }
      };
      const full = peek(row);
      fill(full);
      made.addEventListener("click", () => show(start + i));
      return { row, made, fill, missing: full === null };
    });
    body.replaceChildren(...drawn.map(({ made }) => made));
    const total = kind.rows.length.toLocaleString("en");
    status.textContent =
      (shown.length === kind.rows.length
        ? `${total} ${kind.what}.`
        : `${shown.length.toLocaleString("en")} of ${total} ${kind.what}.`) + state.searched;
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `Page ${state.page + 1} of ${pages}`;
    pager.querySelector('[data-step="-1"]').disabled = state.page === 0;
    pager.querySelector('[data-step="1"]').disabled = state.page === pages - 1;
    return complete(drawn.filter(({ missing }) => missing));
  }

  /** Gives rows their texts, one after the other: those that are no longer shown are left. */
  async function complete(rows) {
    for (const { row, made, fill } of rows) {
      if (!made.isConnected) return;
      try {
        fill(await kind.full(row));
      } catch (error) {
        if (made.isConnected) status.textContent += ` ${error.message}`;
        return; // the others are likely to lack theirs, too: opening one says so
      }
    }
  }

  async function show(index) {
    const row = state.shown[index];
    state.open = index;
    const head = kind.head(row);
    title.textContent = head.title;
    about.replaceChildren(...head.about);
    if (!dialog.open) {
      dialog.showModal();
      title.focus();
    }
    dialog.querySelector('.steps [data-step="-1"]').disabled = index <= 0;
    dialog.querySelector('.steps [data-step="1"]').disabled = index >= state.shown.length - 1;
    history.replaceState(null, "", address(row));
    let full = peek(row);
    if (full === null) {
      content.replaceChildren(node("p", { class: "about" }, "Unpacking …"));
      try {
        full = await kind.full(row);
      } catch (error) {
        if (state.shown[state.open] === row) {
          content.replaceChildren(node("p", { class: "note", role: "alert" }, error.message));
        }
        return;
      }
      if (state.shown[state.open] !== row) return; // another one was opened meanwhile
    }
    content.replaceChildren(...kind.fill(row, full, address).filter(Boolean));
    dialog.scrollTop = 0;
    for (const frame of content.querySelectorAll("[data-from-end]")) {
      frame.scrollTop = frame.scrollHeight;
    }
  }

  function step(by) {
    const next = state.open + by;
    if (next >= 0 && next < state.shown.length) show(next);
  }

  function flip(by) {
    state.page += by;
    render();
  }

  function closed() {
    if (location.hash.startsWith(`#${kind.one}=`)) history.replaceState(null, "", `#${kind.many}`);
  }

  function clear() {
    for (const field of form.elements) if (field.name) field.value = "";
  }

  /** Follows a link to one row, or to the rows that a number of the page is made of. */
  function follow() {
    const match = /^#(\w+)=(.*)$/s.exec(location.hash);
    if (!match || ![kind.one, kind.many].includes(match[1])) {
      if (match && dialog.open) dialog.close(); // the link leads to something else
      return;
    }
    let names;
    try {
      names = match[2].split("/").map(decodeURIComponent);
    } catch {
      return; // a link that someone cut in the middle of an escape
    }
    if (match[1] === kind.many) {
      clear();
      kind.narrow(names, form.elements);
      refresh();
      section.scrollIntoView();
      return;
    }
    const wanted = kind.locate(names);
    if (wanted && !state.shown.includes(wanted)) {
      clear();
      refresh();
    }
    const index = wanted ? state.shown.indexOf(wanted) : -1;
    if (index < 0) {
      status.textContent = `The ${kind.one} ${names.join(" / ")} is not on this page.`;
      section.scrollIntoView();
      return;
    }
    state.page = Math.floor(index / PAGE);
    render();
    show(index);
  }

  operate({ section, form, pager, dialog }, { step, flip, refresh, closed });
  addEventListener("hashchange", follow);
  const first = refresh();
  follow();
  return first;
}

/**
 * Connects a list's parts with what they do: `step(by)` goes on in the dialog, `flip(by)` in the pages,
 * `refresh()` filters anew, `closed()` follows when the dialog was closed.
 */
function operate({ section, form, pager, dialog }, { step, flip, refresh, closed }) {
  dialog.addEventListener("close", () => {
    if (!dialog.open) closed(); // a link may have opened it again before this is heard
  });
  dialog.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (event.target === dialog || (button && "close" in button.dataset)) dialog.close();
    else if (button && button.dataset.step) step(Number(button.dataset.step));
  });
  dialog.addEventListener("keydown", (event) => {
    if (event.target.closest(".text, .scroll")) return; // arrows scroll there
    if (event.key === "ArrowLeft") step(-1);
    if (event.key === "ArrowRight") step(1);
  });
  pager.addEventListener("click", (event) => {
    const button = event.target.closest("button");
    if (!button) return;
    flip(Number(button.dataset.step));
    section.scrollIntoView();
  });
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(refresh));
}

/** The row that has these names in its link, among a few. */
function named(rows, names, wanted) {
  return rows.find((row) => {
    const its = names(row);
    return its.length === wanted.length && its.every((name, i) => String(name) === wanted[i]);
  });
}

/** Gives a select its options: numbers that stand for names. */
function offer(select, names) {
  names.forEach((name, i) => select.append(node("option", { value: i }, name)));
}

/** The number that stands for a name, as a select's value; "" for a name that is not there. */
function numbered(names, name) {
  const i = names.indexOf(name);
  return i < 0 ? "" : String(i);
}

/** Which texts hold what was searched for; null without a search. Each text is searched once. */
function holding(texts, wanted) {
  return wanted ? texts.map((text) => text.toLowerCase().includes(wanted)) : null;
}
