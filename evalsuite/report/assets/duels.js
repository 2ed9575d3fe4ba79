// The judged games between the two chosen models: what they come to with each judge, and each game
// with both orders and the judge's words. Returns what is called when two models are chosen.

function listDuels(data) {
  const FEW = 10; // games shown at first, and more each time
  const { leagues, models, rows } = data.games;
  const section = byId("duels");
  const body = byId("duel-list").tBodies[0];
  const more = byId("duel-more");
  let shown = [];

  const count = (n, one) => `${n.toLocaleString("en")} ${one}`;

  function tally(league, its, first, second) {
    const won = (name) => its.filter((row) => winner(row) === name).length;
    const ties = its.filter((row) => row.o === "tie");
    const split = ties.filter((row) => row.split).length;
    const invalid = its.filter((row) => row.o === "invalid").length;
    const words = [`${first} won ${won(first)}`, count(ties.length, "tied"), `${second} won ${won(second)}`];
    if (split) words.push(`in ${split} of the ties the orders disagree`);
    if (invalid) words.push(count(invalid, "without a verdict"));
    const place = [leagues[league], first, second].map((name) => encodeURIComponent(name)).join("/");
    return node("li", {}, `Judge ${leagues[league]}: ${words.join(", ")}. `, node("a", { href: `#games=${place}` }, "All of them"));
  }

  const winner = (row) => (row.o === "a" ? models[row.a] : row.o === "b" ? models[row.b] : null);

  function outcome(row) {
    if (winner(row) !== null) return node("span", { class: "winner" }, `${winner(row)} wins`);
    if (row.o === "invalid") return node("span", { class: "partly" }, "no verdict");
    return node("span", {}, row.split ? "tie: the orders disagree" : "tie");
  }

  /** What was said with that model's answer shown first. */
  function order(row, name) {
    const game = row.games.find((its) => models[its.first ? row.b : row.a] === name);
    if (!game) return node("td", {}, "–");
    const other = models[game.first ? row.a : row.b];
    const verdicts = { first: `${name} wins`, second: `${other} wins`, tie: "tie" };
    const words = clip("");
    if (game.said !== null) data.said(game.said).then((said) => (words.textContent = said.slice(0, PREVIEW)));
    else if (game.scores) words.textContent = game.scores.map((score) => Number(score.toPrecision(4))).join(" : ");
    return node("td", {}, node("span", {}, verdicts[game.verdict] || "no verdict"), words);
  }

  function line(row, first, second) {
    const parts = [leagues[row.l], row.q, row.turn, models[row.a], models[row.b], ...(row.repeat ? [row.repeat] : [])];
    const link = `#game=${parts.map((name) => encodeURIComponent(name)).join("/")}`;
    const judge = leagues.length > 1 ? node("small", {}, leagues[row.l]) : null;
    const name = `${row.q}${row.turn > 1 ? `, turn ${row.turn}` : ""}${row.repeat ? `, repeat ${row.repeat}` : ""}`;
    const opens = node("a", { href: link, "aria-label": `Question ${name}` }, name);
    return node("tr", {}, node("th", { scope: "row" }, opens, judge), node("td", {}, outcome(row)), order(row, first), order(row, second));
  }

  let add = () => {};
  more.querySelector("button").addEventListener("click", () => add());

  return (a, b) => {
    const [first, second] = [data.models[a], data.models[b]];
    const met = (row) => row.b !== null && [models[row.a], models[row.b]].sort().join("\n") === [first, second].sort().join("\n");
    shown = first === second ? [] : rows.filter(met);
    section.hidden = !shown.length;
    const judges = [...new Set(shown.map((row) => row.l))];
    byId("duel-tallies").replaceChildren(
      ...judges.map((league) => tally(league, shown.filter((row) => row.l === league), first, second)),
    );
    const heads = byId("duel-list").tHead.rows[0].cells;
    [first, second].forEach((name, i) => (heads[2 + i].textContent = `${name} shown first`));
    body.replaceChildren();
    add = () => {
      const start = body.rows.length;
      body.append(...shown.slice(start, start + FEW).map((row) => line(row, first, second)));
      more.hidden = body.rows.length >= shown.length;
    };
    add();
  };
}
