// The list of judged games: a pair of models on a turn of a question is one row, and opens with both
// answers and with what the judge said in each order.

function browseGames(data) {
  const { leagues, models, categories, texts, rows } = data.games;
  const reference = (row) => leagues[row.l] === "reference" || leagues[row.l].startsWith("reference (");
  const NOT_KEPT = "This text was not kept by the run.";

  /** Whether the answer of one model was judged by itself. */
  const alone = (row) => row.b === null;

  /** The models whose answers were judged. */
  const pair = (row) => (alone(row) ? [row.a] : [row.a, row.b]);

  /** What the two orders come to; `who` is the model that has won. */
  const winner = (row) => (row.o === "a" ? row.a : row.o === "b" ? row.b : null);

  function outcome(row) {
    if (winner(row) !== null) return node("span", { class: "winner" }, `${models[winner(row)]} wins`);
    if (row.o === "invalid") return node("span", { class: "partly" }, alone(row) ? "no score" : "no verdict");
    if (alone(row)) return node("span", {}, `score ${grade(row, row.games[0].scores[0])}`);
    return node("span", {}, row.split ? "tie: the orders disagree" : "tie");
  }

  const last = (numbers) => (numbers === null ? null : texts[numbers[numbers.length - 1]]);

  /** The names of a game's first and second answer. */
  const shown = (row, game) => (game.first ? [...pair(row)].reverse() : pair(row)).map((i) => models[i]);

  const grade = (row, score) =>
    reference(row) ? (score === 1 ? "right" : "wrong") : String(Number(score.toPrecision(4)));

  /** What the judge said, in a line. */
  function said(row) {
    const game = row.games.find((its) => its.said !== null);
    if (game) return texts[game.said].slice(0, PREVIEW);
    const graded = row.games.find((its) => its.scores);
    if (graded) {
      const names = shown(row, graded);
      const grades = graded.scores.map((score) => grade(row, score));
      if (alone(row)) return "";
      if (grades[0] === grades[1]) return `both ${grades[0]}`;
      return grades.map((its, i) => `${names[i]}: ${its}`).join(", ");
    }
    return row.games.map((its) => its.error).find(Boolean) || "";
  }

  function accepts(values) {
    const number = (name) => (values.get(name) ? Number(values.get(name)) : null);
    const [league, model, against, category] = ["league", "model", "against", "category"].map(number);
    const kind = values.get("outcome");
    const wanted = values.get("text").trim().toLowerCase();
    const hits = holding(texts, wanted);
    const holds = (numbers) => numbers !== null && numbers.some((i) => hits[i]);
    const found = (row) =>
      String(row.q).toLowerCase() === wanted ||
      holds(row.question) ||
      row.answers.some(holds) ||
      (row.reference !== undefined && hits[row.reference]) ||
      row.games.some((game) => game.said !== null && hits[game.said]);
    const plays = (row, one) => one === null || row.a === one || row.b === one;
    const isKind = {
      won: (row) => winner(row) !== null && (model === null || winner(row) === model),
      lost: (row) => winner(row) !== null && (model === null || winner(row) !== model),
      tie: (row) => row.o === "tie",
      split: (row) => row.split === 1,
      invalid: (row) => row.o === "invalid",
    };
    return (row) =>
      (league === null || row.l === league) &&
      plays(row, model) &&
      plays(row, against) &&
      (model === null || model !== against) &&
      (category === null || row.c === category) &&
      (kind === "" || isKind[kind](row)) &&
      (!hits || found(row));
  }

  // ---- one comparison ---------------------------------------------------------------------------

  /** A text by number, or that it was not kept. */
  const kept = (value) => (value === null ? node("p", { class: "about" }, NOT_KEPT) : text(value));

  const length = (n) => `${n.toLocaleString("en")} ${n === 1 ? "character" : "characters"}`;

  function answers(row) {
    const first = row.games[0];
    const lengths = first.first ? [...first.lengths].reverse() : first.lengths;
    const own = pair(row).map((model, i) => {
      const won = winner(row) === model;
      const made = part(models[model], kept(last(row.answers[i])));
      made.querySelector("h3").append(
        node("span", { class: "about" }, ` ${length(lengths[i])}`),
        won ? node("span", { class: "tag winner" }, "wins") : "",
      );
      return made;
    });
    return node("div", { class: "two" }, ...own);
  }

  /** The turns before the judged one, folded. */
  function earlier(row) {
    if (row.turn === 1) return null;
    const turn = (numbers, i) => (numbers === null ? null : texts[numbers[i]]);
    const parts = [];
    for (let i = 0; i < row.turn - 1; i++) {
      parts.push(part(`Turn ${i + 1}`, kept(turn(row.question, i))));
      const both = pair(row).map((model, k) => part(models[model], kept(turn(row.answers[k], i))));
      parts.push(node("div", { class: "two" }, ...both));
    }
    return node("details", {}, node("summary", {}, "What was said before"), ...parts);
  }

  function verdictOf(row, game) {
    const names = shown(row, game);
    if (game.verdict === "first") return `${names[0]} wins, the answer shown first`;
    if (game.verdict === "second") return `${names[1]} wins, the answer shown second`;
    return game.verdict === "tie" ? "a tie" : "no verdict";
  }

  function price(cost) {
    if (cost === null) return "cost not known";
    return cost === 0 ? "no cost" : `$${cost >= 0.1 ? cost.toFixed(2) : Number(cost.toPrecision(2))}`;
  }

  function took(row, game) {
    if (reference(row)) return null;
    if (!game.tokens) return game.cost === null ? null : price(game.cost);
    if (!game.calls) return "no call of its own: the same answers were judged in another game";
    const [read, written] = game.tokens.map((n) => n.toLocaleString("en"));
    const asked = game.calls > 1 ? `asked ${game.calls} times, ` : "";
    const by = game.served ? `, answered by ${game.served}` : "";
    return `${asked}${read} tokens read, ${written} written, ${price(game.cost)}${by}`;
  }

  function order(row, game) {
    const names = shown(row, game);
    const content = alone(row)
      ? [node("p", { class: "verdict" }, game.scores ? `Score: ${grade(row, game.scores[0])}.` : "No score.")]
      : [node("p", { class: "verdict" }, `Verdict: ${verdictOf(row, game)}.`)];
    if (game.scores && !alone(row)) {
      const graded = game.scores.map((score, i) => `${names[i]} ${grade(row, score)}`).join(", ");
      content.push(node("p", { class: "about" }, `${reference(row) ? "The check says" : "Scores"}: ${graded}.`));
    }
    if (game.error) content.push(node("p", { class: "about" }, `No reply: ${game.error}`));
    if (game.said !== null) content.push(text(texts[game.said]));
    else if (!game.error && !reference(row)) content.push(kept(null));
    const tokens = took(row, game);
    if (tokens && !game.error) content.push(node("p", { class: "about" }, tokens));
    return alone(row) ? node("section", {}, ...content) : part(`${names[0]} first, ${names[1]} second`, ...content);
  }

  function head(row) {
    const turn = row.turn > 1 ? `, turn ${row.turn}` : "";
    const again = row.repeat ? `, repeat ${row.repeat}` : "";
    return {
      title: `Question ${row.q}${turn}${again}: ${pair(row).map((i) => models[i]).join(" against ")}`,
      about: [`${leagues[row.l]} · ${categories[row.c]} · `, outcome(row)],
    };
  }

  function fill(row) {
    const heading = reference(row) ? "Both orders" : "What the judge said, in both orders";
    const one = alone(row) ? "What the judge said" : "The one order that was judged";
    return [
      earlier(row),
      part("Question", kept(last(row.question))),
      row.reference === undefined ? null : part("Reference", text(texts[row.reference])),
      answers(row),
      node("h3", { class: "orders" }, row.games.length > 1 ? heading : one),
      node("div", { class: "two orders" }, ...row.games.map((game) => order(row, game))),
    ];
  }

  const form = byId("game-filters").elements;
  offer(form.league, leagues);
  offer(form.model, models);
  offer(form.against, models);
  offer(form.category, categories);
  form.league.closest("label").hidden = leagues.length < 2;
  const names = (row) => [
    ...[leagues[row.l], row.q, row.turn, ...pair(row).map((i) => models[i])],
    ...(row.repeat ? [row.repeat] : []),
  ];
  return browse({
    one: "game",
    many: "games",
    what: (rows.every(alone) ? "answer" : "comparison") + (rows.length === 1 ? "" : "s"),
    rows,
    accepts,
    cells: (row) => [
      `${row.q}${row.turn > 1 ? `, turn ${row.turn}` : ""}${row.repeat ? `, repeat ${row.repeat}` : ""}`,
      outcome(row),
      pair(row).map((i) => models[i]).join(" · "),
      clip((last(row.question) || "").slice(0, PREVIEW)),
      clip(said(row)),
    ],
    names,
    locate: (wanted) => named(rows, names, wanted),
    narrow: ([league, model, against], fields) => {
      fields.league.value = numbered(leagues, league);
      fields.model.value = numbered(models, model);
      fields.against.value = numbered(models, against);
    },
    head,
    fill,
  });
}
