// Waits for the page's data and starts the lists that this page has.

async function start() {
  const [samples, games] = [byId("samples"), byId("games")].map(
    (section) => section && section.querySelector("form") !== null,
  );
  const compared = byId("compare") !== null;
  if (!samples && !games && !compared) return;
  if (!(await data.ready)) {
    for (const status of document.querySelectorAll(".status, .compare-verdict")) {
      status.textContent =
        "This browser is too old to unpack these texts; they are in the run’s folder.";
    }
    return;
  }
  const shown = [samples && browseSamples(data), games && browseGames(data)];
  if (compared) compareModels(data);
  await Promise.all(shown);
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}
start();
