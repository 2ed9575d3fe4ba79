// A list of things with filters, pages, a dialog that shows one, and links to any of them. Samples
// and games are two such lists; what differs between them is in `kind`:
//   one, many  the names in links: #sample=a/b/c opens one, #samples=a/b filters the list
//   what       the many in words
//   rows       all of them
//   accepts    (values of the filters) -> (row) -> whether the row is to be shown
//   cells      (row) -> the contents of its five columns; the first becomes its button
//   names      (row) -> the parts of its link
//   narrow     (parts of a #samples link, fields of the form): sets the filters
//   fill       (row) -> {title, about, content} of the dialog

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
  const state = { shown: [], page: 0, open: -1 };

  const address = (row) =>
    `#${kind.one}=` + kind.names(row).map((name) => encodeURIComponent(name)).join("/");

  function refresh() {
    state.shown = kind.rows.filter(kind.accepts(new FormData(form)));
    state.page = 0;
    render();
  }

  function render() {
    const { shown } = state;
    const pages = Math.max(1, Math.ceil(shown.length / PAGE));
    const start = state.page * PAGE;
    body.replaceChildren(
      ...shown.slice(start, start + PAGE).map((row, i) => {
        const [first, ...others] = kind.cells(row);
        const open = node("button", { type: "button" }, first);
        const made = node("tr", {}, ...[open, ...others].map((cell) => node("td", {}, cell)));
        made.addEventListener("click", () => show(start + i));
        return made;
      }),
    );
    const total = kind.rows.length.toLocaleString("en");
    status.textContent =
      shown.length === kind.rows.length
        ? `${total} ${kind.what}.`
        : `${shown.length.toLocaleString("en")} of ${total} ${kind.what}.`;
    pager.hidden = pages === 1;
    pager.querySelector("span").textContent = `Page ${state.page + 1} of ${pages}`;
    pager.querySelector('[data-step="-1"]').disabled = state.page === 0;
    pager.querySelector('[data-step="1"]').disabled = state.page === pages - 1;
  }

  function show(index) {
    const row = state.shown[index];
    state.open = index;
    if (!dialog.open) dialog.showModal();
    const its = kind.fill(row, address);
    title.textContent = its.title;
    about.replaceChildren(...its.about);
    content.replaceChildren(...its.content.filter(Boolean));
    dialog.scrollTop = 0;
    for (const frame of content.querySelectorAll("[data-from-end]")) {
      frame.scrollTop = frame.scrollHeight;
    }
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
    const wanted = (row) => {
      const its = kind.names(row);
      return its.length === names.length && its.every((name, i) => String(name) === names[i]);
    };
    if (state.shown.findIndex(wanted) < 0) {
      clear();
      refresh();
    }
    const index = state.shown.findIndex(wanted);
    if (index < 0) {
      status.textContent = `The ${kind.one} ${names.join(" / ")} is not on this page.`;
      section.scrollIntoView();
      return;
    }
    state.page = Math.floor(index / PAGE);
    render();
    show(index);
  }

  dialog.addEventListener("close", () => {
    if (location.hash.startsWith(`#${kind.one}=`)) history.replaceState(null, "", `#${kind.many}`);
  });
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
    section.scrollIntoView();
  });
  let timer = 0;
  form.addEventListener("input", () => {
    clearTimeout(timer);
    timer = setTimeout(refresh, 120);
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(refresh));
  addEventListener("hashchange", follow);
  refresh();
  follow();
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
function search(texts, wanted) {
  return wanted ? texts.map((text) => text.toLowerCase().includes(wanted)) : null;
}
