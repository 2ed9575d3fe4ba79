// Filters of the table of tasks: columns by capability and name, rows by the model's name.

(() => {
  const form = byId("task-filters");
  const table = byId("task-table");
  if (!table) return; // judged games only
  const heads = [...table.tHead.rows[0].cells];
  const low = (name) => form.elements[name].value.trim().toLowerCase();

  function refresh() {
    const [task, model, capability] = [low("task"), low("model"), form.elements.capability.value];
    const shown = heads.map(
      ({ dataset: its }) =>
        !("task" in its) ||
        (its.task.toLowerCase().includes(task) && (!capability || its.capability === capability)),
    );
    heads.forEach((head, column) => (head.hidden = !shown[column]));
    let models = 0;
    for (const row of table.tBodies[0].rows) {
      row.hidden = !row.cells[0].textContent.toLowerCase().includes(model);
      if (!row.hidden) models++;
      [...row.cells].forEach((cell, column) => (cell.hidden = !shown[column]));
    }
    const all = heads.filter((head) => "task" in head.dataset).length;
    const some = heads.filter((head, column) => "task" in head.dataset && shown[column]).length;
    const rows = table.tBodies[0].rows.length;
    byId("task-status").textContent =
      some === all && models === rows ? "" : `${some} of ${all} tasks, ${models} of ${rows} models.`;
  }

  form.addEventListener("input", refresh);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(refresh));
})();
