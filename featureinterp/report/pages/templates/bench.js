// The bench of served pages: a sentence is tried, rules are edited, and what comes of it is drawn. Text is set as text.
"use strict";

(() => {
  const bench = document.getElementById("bench");
  const form = document.getElementById("try");
  const sentence = document.getElementById("sentence");
  const answer = document.getElementById("answer");
  const about = document.getElementById("bench-data");
  const feature = about ? JSON.parse(about.textContent) : null;
  const under_way = new Map();
  let tried = "";

  function element(name, text = "", className = "") {
    const made = document.createElement(name);
    if (text) made.textContent = text;
    if (className) made.className = className;
    return made;
  }

  // Ask the server; a newer question of the same kind takes the place of an older one, which then answers nothing.
  async function ask(what, question) {
    under_way.get(what)?.abort();
    const controller = new AbortController();
    under_way.set(what, controller);
    try {
      const response = await fetch(bench.dataset.api + what, {
        method: "POST",
        headers: { "Content-Type": "application/json" },
        body: JSON.stringify(question),
        signal: controller.signal,
      });
      if (response.ok) return await response.json();
      const refusal = await response.json().catch(() => ({}));
      return { refused: refusal.problem || `the server answered ${response.status}`, hint: refusal.hint || "" };
    } catch (error) {
      if (controller.signal.aborted) return null;
      return { refused: "the server cannot be reached", hint: "check whether it is running" };
    } finally {
      if (under_way.get(what) === controller) under_way.delete(what);
    }
  }

  const as_sentence = (words) => words && `${words[0].toUpperCase()}${words.slice(1)}${/[.!?]$/.test(words) ? "" : "."}`;
  const refusal = (asked) => element("p", `${as_sentence(asked.refused)} ${as_sentence(asked.hint)}`.trim(), "failure");
  const number = (value, digits = 2) => (value === null ? "–" : value.toFixed(digits).replace(/^-(0\.?0*)$/, "$1"));

  function show(...parts) {
    answer.replaceChildren(...parts);
    answer.setAttribute("aria-busy", "false");
  }

  function drawn(token) {
    const made = element("i", token.shown);
    const classes = [`t${token.true_bar}`, `e${token.expected_bar}`];
    if (token.mark) classes.push(token.mark);
    if (token.shown.length > 24) classes.push("long");
    made.className = classes.join(" ");
    made.title = numbers(token);
    return made;
  }

  function numbers(token) {
    const truth = token.level === null ? `activation ${number(token.activation)}` : `true ${number(token.level, 1)}`;
    return token.expected === null ? truth : `${truth}, expected ${number(token.expected, 1)}`;
  }

  function row(cells, head = "td") {
    const made = element("tr");
    cells.forEach((cell, at) => {
      const name = at === 0 && head === "td" ? "th" : head;
      const one = element(name, "", at === 0 ? "" : "number");
      if (name === "th") one.scope = head === "th" ? "col" : "row";
      one.append(cell);
      made.append(one);
    });
    return made;
  }

  function table(heads, rows) {
    const made = element("table", "", "found");
    const [head, body] = [element("thead"), element("tbody")];
    head.append(row(heads, "th"));
    body.append(...rows);
    made.append(head, body);
    return made;
  }

  function scrolled(inside, label) {
    const made = element("div", "", "scroll");
    made.tabIndex = 0;
    made.setAttribute("role", "region");
    made.setAttribute("aria-label", label);
    made.append(inside);
    return made;
  }

  function verdict(result) {
    const words = element("p", "", "verdict-words");
    const strongest = result.tokens.reduce((a, b) => (b.activation > a.activation ? b : a));
    const fires = strongest.activation > 0
      ? `It fires most on “${strongest.shown}”: ${number(strongest.activation)}${strongest.level === null ? "" : `, level ${number(strongest.level, 1)} of 5`}.`
      : "It does not fire.";
    words.append(element("b", fires));
    const apart = result.disagreement;
    if (apart) {
      const told = apart.words.length ? as_sentence(apart.words.join("; ")) : "No error of a full level or more.";
      words.append(` ${told} Mean absolute error: ${number(apart.mean_absolute_error)} levels; squared error ${number(apart.squared_error, 1)}.`);
    }
    return words;
  }

  function activations(result) {
    const line = element("p", "", "sentence");
    line.tabIndex = 0;
    for (const token of result.tokens) line.append(token.lead, drawn(token));
    const details = element("details");
    details.open = answer.querySelector("details")?.open || false;
    details.append(element("summary", "Numbers by token"));
    const cells = (token) => [
      element("code", token.lead + token.shown), number(token.activation), number(token.level, 1),
      number(token.expected, 1), number(token.error, 1),
    ];
    const heads = ["token", "activation", "true level", "expected level", "expected − true"];
    details.append(scrolled(table(heads, result.tokens.map((token) => row(cells(token)))), "Numbers of every token"));
    return [line, verdict(result), ...result.notes.map((note) => element("p", note, "failure")), details];
  }

  function top(result) {
    if (!result.features.length) return [element("p", "No feature of the run fires on this sentence.")];
    const told = `${result.n_firing} of the run’s features fire${result.n_firing === 1 ? "s" : ""}, strongest first.`;
    const rows = result.features.map(({ feature: one, level, activation, token }) => {
      const link = element("a", `${one.layer}/${one.latent}`);
      link.href = `${bench.dataset.features}${encodeURIComponent(one.name)}.html`;
      return row([link, number(level, 1), number(activation), element("code", token), element("span", one.words.join("; "))]);
    });
    const drawn_table = table(["feature", "level", "activation", "on the token", "its rules"], rows);
    drawn_table.classList.add("firing");
    return [element("p", told), scrolled(drawn_table, "Features that fire")];
  }

  async function run(text) {
    answer.setAttribute("aria-busy", "true");
    const result = feature
      ? await ask("activations", { ...place, text, rules: is_edited() ? rules() : null })
      : await ask("top", { text, n: 20 });
    if (result === null) return;
    if (result.refused) return show(refusal(result));
    show(...(feature ? activations(result) : top(result)));
  }

  form.addEventListener("submit", (event) => {
    event.preventDefault();
    tried = sentence.value;
    if (!tried) return show(element("p", "Type a sentence first.", "failure"));
    run(tried);
  });
  sentence.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });

  // From here on, the rules.
  const list = document.getElementById("rule-list");
  if (!feature) return;
  const place = { layer: feature.layer, latent: feature.latent, hook: feature.hook };
  const rules = () => [...list.children].map((item) => ({
    activates_on: item.querySelector("textarea").value,
    strength: Number(item.querySelector("select").value),
  }));
  const is_edited = () => list !== null && JSON.stringify(rules()) !== JSON.stringify(feature.rules);
  if (!list) return;
  const status = document.getElementById("rules-status");
  const reset = document.getElementById("reset-rules");
  const add = document.getElementById("add-rule");
  const waiting = status.textContent;
  let timer = 0;

  function rule_item(rule) {
    const item = element("li");
    const words = element("textarea");
    words.rows = 2;
    words.maxLength = 1000;
    words.value = rule.activates_on;
    words.spellcheck = false;
    const strength = element("select");
    for (let level = 0; level <= 5; level += 1) strength.append(new Option(String(level)));
    strength.value = String(rule.strength);
    const remove = element("button", "Remove");
    remove.type = "button";
    remove.addEventListener("click", () => {
      const next = item.nextElementSibling || item.previousElementSibling;
      item.remove();
      (next ? next.querySelector("textarea") : add).focus();
      renumber();
      changed();
    });
    const label = element("label", "strength ");
    label.append(strength);
    item.append(words, label, remove);
    return item;
  }

  function renumber() {
    [...list.children].forEach((item, at) => {
      item.querySelector("textarea").setAttribute("aria-label", `Words of rule ${at + 1}`);
      item.querySelector("select").setAttribute("aria-label", `Strength of rule ${at + 1}`);
      item.querySelector("button").setAttribute("aria-label", `Remove rule ${at + 1}`);
    });
    add.disabled = list.children.length >= 20;
  }

  function fill() {
    list.replaceChildren(...feature.rules.map(rule_item));
    renumber();
  }

  function changed() {
    clearTimeout(timer);
    reset.disabled = !is_edited();
    timer = setTimeout(score, 350);
  }

  const interval = (score) => (score.ci_low === null ? "" : ` [${number(score.ci_low)}, ${number(score.ci_high)}]`);

  function put(cell, score, digits = 2) {
    const value = score.value === null ? element("span", "undefined", "undefined") : element("span", number(score.value, digits), "value");
    if (score.reason) value.title = score.reason;
    cell.replaceChildren(value, element("span", interval(score), "interval"));
  }

  async function score() {
    if (tried) run(tried);
    if (!is_edited()) {
      under_way.get("score")?.abort();
      for (const line of document.querySelectorAll(".tried tbody tr")) {
        line.querySelector(".edited").textContent = "same";
        line.querySelector(".difference").textContent = "–";
        line.querySelector(".false-positives").textContent = "";
      }
      status.textContent = waiting;
      return;
    }
    if (!list.children.length) {
      status.textContent = "Add at least one rule.";
      return;
    }
    if (rules().some((rule) => !rule.activates_on.trim())) {
      status.textContent = "A rule is empty.";
      return;
    }
    status.textContent = "Scoring…";
    const result = await ask("score", { feature: place, rules: rules() });
    if (result === null) return;
    if (result.refused) {
      status.textContent = refusal(result).textContent;
      return;
    }
    for (const source of result.sources) {
      const line = document.querySelector(`.tried tr[data-source="${source.source}"]`);
      put(line.querySelector(".edited"), source.edited);
      put(line.querySelector(".difference"), source.difference, 3);
      line.querySelector(".false-positives").textContent = ` → ${number(source.edited_false_positives.value)}`;
    }
    const [main] = result.sources;
    const by = main.difference.value;
    status.textContent = by === null
      ? `The score is undefined: ${main.edited.reason}.`
      : `Against ${main.words}: ${number(main.edited.value)} instead of ${number(main.stored.value)}, ${by < 0 ? "worse" : "better"} by ${number(Math.abs(by), 3)}.`;
  }

  list.addEventListener("input", changed);
  add.addEventListener("click", () => {
    list.append(rule_item({ activates_on: "", strength: 5 }));
    renumber();
    list.lastElementChild.querySelector("textarea").focus();
    changed();
  });
  reset.addEventListener("click", () => {
    fill();
    changed();
    list.querySelector("textarea").focus();
  });
  document.getElementById("rules").addEventListener("submit", (event) => event.preventDefault());
  fill();
})();
