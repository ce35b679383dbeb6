// The list of features: sorted and filtered from the table in features.js, drawn in chunks, its state in the address.
"use strict";

(() => {
  const CHUNK = 40;
  const table = globalThis.featureTable; // every column a list; a feature is its place in them
  const form = document.getElementById("filters");
  const heads = [...document.querySelectorAll("#features thead th")];
  const list = document.getElementById("list");
  const body = document.querySelector("#features tbody");
  const count = document.getElementById("count");
  const more = document.getElementById("more");
  const boxes = [...form.querySelectorAll("input[name=columns]")];

  const labels = new Map(heads.map((th) => [th.className, th.textContent]));
  const usual = boxes.filter((box) => box.defaultChecked).map((box) => box.value).join(" ");
  const FILTERS = ["q", "layer", "status", "min", "max"];
  const features = table.name.map((_, i) => i).sort(inOrder);
  const texts = table.name.map((_, i) =>
    [`${table.place[i]}/${table.latent[i]}`, `${table.layer[i]}/${table.latent[i]}`, ...table.words[i], ...table.tokens[i]]
      .join("\n")
      .toLowerCase(),
  );

  let state = readState();
  let order = { key: "", features };
  let shown = [];
  let drawn = 0;
  let fitted = ""; // the columns that the table's width was last measured with

  function inOrder(i, j) {
    return table.layer[i] - table.layer[j] || table.latent[i] - table.latent[j] || i - j;
  }

  function readState() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    const number = (name) => (Number.isFinite(Number(parameters.get(name))) ? parameters.get(name) || "" : "");
    return {
      sort: labels.has(parameters.get("sort")) ? parameters.get("sort") : "layer",
      down: parameters.get("order") === "down",
      q: parameters.get("q") || "",
      layer: parameters.get("layer") || "",
      status: parameters.get("status") || "",
      min: number("min"),
      max: number("max"),
      columns: (parameters.get("columns") ?? usual).split(" ").filter((name) => labels.has(name)),
    };
  }

  function writeState() {
    const parameters = new URLSearchParams();
    for (const name of FILTERS) if (state[name]) parameters.set(name, state[name]);
    if (state.sort !== "layer" || state.down) {
      parameters.set("sort", state.sort);
      parameters.set("order", state.down ? "down" : "up");
    }
    if (state.columns.join(" ") !== usual) parameters.set("columns", state.columns.join(" "));
    history.replaceState(null, "", "#" + parameters.toString());
  }

  const first = (interval) => (interval ? interval[0] : null);
  const sortKeys = {
    words: (i) => table.words[i].join(" ").toLowerCase(),
    tokens: (i) => table.tokens[i].join(" ").trim().toLowerCase() || null,
    score: (i) => first(table.score[i]),
    random: (i) => first(table.random[i]),
    corpus: (i) => first(table.corpus[i]),
    margin: (i) => first(table.margin[i]),
    judgement: (i) => table.judgement[i] || null,
    rules: (i) => table.rules[i] || null,
  };

  // Sorted once per choice of column, so that a keystroke only filters.
  function sorted() {
    const key = `${state.sort} ${state.down}`;
    if (order.key === key) return order.features;
    const keys = features.map(() => null);
    for (const i of features) keys[i] = sortKeys[state.sort] ? sortKeys[state.sort](i) : table[state.sort][i];
    const sign = state.down ? -1 : 1;
    const compare = (i, j) => {
      const [x, y] = [keys[i], keys[j]];
      if (x === y) return inOrder(i, j);
      if (x === null || y === null) return x === null ? 1 : -1; // undefined ones last, always
      return x < y ? -sign : sign;
    };
    order = { key, features: [...features].sort(compare) };
    return order.features;
  }

  function filter() {
    const words = state.q.toLowerCase().split(/\s+/).filter(Boolean);
    const least = state.min === "" ? -Infinity : Number(state.min);
    const most = state.max === "" ? Infinity : Number(state.max);
    const ranged = state.min !== "" || state.max !== "";
    return sorted().filter((i) => {
      if (state.layer && table.place[i] !== state.layer) return false;
      if (state.status && table.status[i] !== state.status) return false;
      if (ranged && !(table.score[i] && table.score[i][0] >= least && table.score[i][0] <= most)) return false;
      return words.every((word) => texts[i].includes(word));
    });
  }

  function update() {
    shown = filter();
    for (const th of heads) {
      const active = th.className === state.sort;
      th.setAttribute("aria-sort", active ? (state.down ? "descending" : "ascending") : "none");
      th.hidden = !isShown(th.className);
    }
    const all = features.length.toLocaleString("en");
    count.textContent = `${shown.length.toLocaleString("en")} of ${all} feature${features.length === 1 ? "" : "s"}`;
    body.replaceChildren();
    drawn = 0;
    draw();
    if (fitted !== state.columns.join(" ")) fit();
    fitted = state.columns.join(" ");
  }

  // A table that is too wide scrolls by itself; only one that fits keeps its head in sight.
  function fit() {
    list.classList.remove("scroll");
    list.classList.toggle("scroll", list.scrollWidth > list.clientWidth);
  }

  // What has no box is always there.
  const isShown = (name) => state.columns.includes(name) || !boxes.some((box) => box.value === name);

  function draw(until = drawn + CHUNK) {
    const names = heads.filter((th) => !th.hidden).map((th) => th.className);
    const chunk = document.createDocumentFragment();
    for (; drawn < Math.min(until, shown.length); drawn += 1) chunk.append(drawRow(shown[drawn], names));
    body.append(chunk);
    more.hidden = drawn >= shown.length;
  }

  function drawRow(i, names) {
    const tr = make("tr", { role: "row" });
    for (const name of names) {
      const td = make("td", { role: "cell", class: name, "data-label": labels.get(name) });
      cells[name](td, i);
      tr.append(td);
    }
    return tr;
  }

  const cells = {
    layer: (td, i) => (td.textContent = table.place[i]),
    latent: (td, i) => {
      const [layer, latent, name] = [table.layer[i], table.latent[i], table.name[i]];
      const a = make("a", { href: `features/${name}.html`, "aria-label": `layer ${layer}, latent ${latent}` });
      a.textContent = latent;
      td.append(a);
    },
    status: (td, i) => {
      td.textContent = table.status[i];
      td.classList.add(table.status[i]);
    },
    words: (td, i) => {
      if (table.status[i] !== "explained") td.classList.add("none");
      for (const words of table.words[i]) td.append(text("span", words));
    },
    tokens: (td, i) => {
      for (const token of table.tokens[i]) td.append(text("code", token), " ");
    },
    score: (td, i) => {
      interval(td, table.score[i]);
      if (table.score[i]) td.append(plot(i));
    },
    judgement: (td, i) => (td.textContent = table.judgement[i] || "–"),
    corpus: (td, i) => interval(td, table.corpus[i]),
    margin: (td, i) => interval(td, table.margin[i]),
    random: (td, i) => interval(td, table.random[i]),
    lookup: (td, i) => (td.textContent = number(table.lookup[i])),
    shuffled: (td, i) => (td.textContent = number(table.shuffled[i])),
    false_positives: (td, i) => (td.textContent = number(table.false_positives[i])),
    density: (td, i) => (td.textContent = table.density_words[i]),
    rules: (td, i) => (td.textContent = table.rules[i] || "–"),
  };

  function interval(td, values) {
    td.append(text("span", number(first(values))));
    if (values && values[1] !== null) {
      const bounds = text("span", ` [${number(values[1])}, ${number(values[2])}]`);
      bounds.className = "interval";
      td.append(bounds);
    }
  }

  function plot(i) {
    const svg = draw_svg("svg", { class: "plot", "aria-hidden": "true" });
    for (const at of [0, 0.5, 1]) svg.append(line("grid", at, at, "0", "100%"));
    for (const kind of ["shuffled", "lookup"]) if (table[kind][i] !== null) svg.append(mark(kind, table[kind][i], 3));
    const [value, low, high] = table.score[i];
    if (low !== null) svg.append(line("whisker explanation", low, high, "50%", "50%"));
    svg.append(mark("explanation", value, 4));
    return svg;
  }

  const place = (value) => {
    const share = (value - table.from) / (table.to - table.from);
    return `${(100 * Math.min(Math.max(share, 0), 1)).toFixed(1)}%`;
  };
  const line = (kind, from, to, y1, y2) => draw_svg("line", { class: kind, x1: place(from), x2: place(to), y1, y2 });
  const mark = (kind, value, r) => {
    if (kind === "lookup") return line("mark token_lookup", value, value, "15%", "85%");
    return draw_svg("circle", { class: `mark ${kind}`, cx: place(value), cy: "50%", r });
  };

  function number(value) {
    if (value === null) return "–";
    const written = value.toFixed(2);
    return Number(written) === 0 ? "0.00" : written.replace("-", "−");
  }

  function make(name, attributes, element = document.createElement(name)) {
    for (const [key, value] of Object.entries(attributes)) element.setAttribute(key, value);
    return element;
  }
  const draw_svg = (name, attributes) =>
    make(name, attributes, document.createElementNS("http://www.w3.org/2000/svg", name));
  function text(name, content) {
    const element = document.createElement(name);
    element.textContent = content;
    return element;
  }

  function showState() {
    for (const name of FILTERS) form.elements[name].value = state[name];
    for (const box of boxes) box.checked = state.columns.includes(box.value);
    update();
  }

  for (const th of heads) {
    th.firstElementChild.addEventListener("click", () => {
      state.down = state.sort === th.className ? !state.down : th.dataset.first === "descending";
      state.sort = th.className;
      writeState();
      update();
    });
  }
  form.addEventListener("input", () => {
    for (const name of FILTERS) state[name] = form.elements[name].value.trim();
    state.columns = boxes.filter((box) => box.checked).map((box) => box.value);
    writeState();
    update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", (event) => {
    event.preventDefault(); // the filters are cleared, the choice of columns stays
    for (const name of FILTERS) state[name] = "";
    writeState();
    showState();
  });
  more.addEventListener("click", () => draw());
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && drawn < shown.length) draw();
  }, { rootMargin: "600px" }).observe(more);
  window.addEventListener("hashchange", () => {
    state = readState();
    showState();
  });
  window.addEventListener("resize", fit);
  window.addEventListener("beforeprint", () => draw(shown.length));
  showState();
})();
