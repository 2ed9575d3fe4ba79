// Waits for the page's data and starts the lists that this page has.

async function start() {
  const [samples, games] = [byId("samples"), byId("games")].map(
    (section) => section && section.querySelector("form") !== null,
  );
  if (!samples && !games) return;
  if (!(await data.ready)) {
    for (const status of document.querySelectorAll(".status")) {
      status.textContent =
        "This browser is too old to unpack these texts; they are in the run’s folder.";
    }
    return;
  }
  await Promise.all([samples && browseSamples(data), games && browseGames(data)]);
  performance.mark("ready");
  document.documentElement.dataset.ready = "yes";
}
start();
