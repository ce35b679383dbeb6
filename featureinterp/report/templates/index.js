// The list of features: sorted and filtered from data in the page, drawn in chunks, its state kept in the address.
"use strict";

(() => {
  const CHUNK = 150;
  const data = JSON.parse(document.getElementById("data").textContent);
  const form = document.getElementById("filters");
  const head = document.querySelector("#features thead tr");
  const body = document.querySelector("#features tbody");
  const count = document.getElementById("count");
  const more = document.getElementById("more");

  const first = (interval) => (interval ? interval[0] : null);
  const columns = [
    { id: "layer", label: "layer", value: (row) => row.layer },
    { id: "latent", label: "latent", value: (row) => row.latent },
    { id: "status", label: "status", value: (row) => row.status },
    { id: "words", label: "explanation", value: (row) => row.words.join(" ").toLowerCase() },
    { id: "score", label: "score (similar)", value: (row) => first(row.score), high: true },
    { id: "random", label: "score (random)", value: (row) => first(row.random), high: true },
    { id: "lookup", label: "token lookup", value: (row) => row.lookup, high: true },
    { id: "shuffled", label: "another’s words", value: (row) => row.shuffled, high: true },
    { id: "false_positives", label: "false positives / sentence", value: (row) => row.false_positives, high: true },
    { id: "density", label: "density", value: (row) => row.density, high: true },
    { id: "rules", label: "rules", value: (row) => row.rules || null, high: true },
  ];
  const byId = new Map(columns.map((column) => [column.id, column]));
  for (const row of data.rows) {
    row.text = [`${row.place}/${row.latent}`, `${row.layer}/${row.latent}`, ...row.words].join("\n").toLowerCase();
  }

  let state = readState();
  let shown = [];
  let drawn = 0;

  function readState() {
    const parameters = new URLSearchParams(location.hash.slice(1));
    const sort = byId.has(parameters.get("sort")) ? parameters.get("sort") : "layer";
    return {
      sort,
      down: parameters.get("order") === "down",
      q: parameters.get("q") || "",
      layer: parameters.get("layer") || "",
      status: parameters.get("status") || "",
      min: Number.isFinite(Number(parameters.get("min"))) ? parameters.get("min") || "" : "",
    };
  }

  function writeState() {
    const parameters = new URLSearchParams();
    for (const name of ["q", "layer", "status", "min"]) if (state[name]) parameters.set(name, state[name]);
    if (state.sort !== "layer" || state.down) {
      parameters.set("sort", state.sort);
      parameters.set("order", state.down ? "down" : "up");
    }
    history.replaceState(null, "", "#" + parameters.toString());
  }

  function compare(a, b) {
    const value = byId.get(state.sort).value;
    const x = value(a);
    const y = value(b);
    if (x === null || y === null) return x === y ? inOrder(a, b) : x === null ? 1 : -1; // undefined ones last, always
    if (x === y) return inOrder(a, b);
    return (x < y ? -1 : 1) * (state.down ? -1 : 1);
  }

  const inOrder = (a, b) => a.layer - b.layer || a.latent - b.latent;

  function passes(row) {
    if (state.layer && row.place !== state.layer) return false;
    if (state.status && row.status !== state.status) return false;
    if (state.min !== "" && !(row.score && row.score[0] >= Number(state.min))) return false;
    return state.q.toLowerCase().split(/\s+/).every((word) => row.text.includes(word));
  }

  function update() {
    shown = data.rows.filter(passes).sort(compare);
    for (const th of head.children) {
      const active = th.dataset.id === state.sort;
      th.setAttribute("aria-sort", active ? (state.down ? "descending" : "ascending") : "none");
    }
    count.textContent = `${shown.length} of ${data.rows.length} features`;
    body.replaceChildren();
    drawn = 0;
    draw();
  }

  function draw(all = false) {
    const until = all ? shown.length : Math.min(shown.length, drawn + CHUNK);
    const chunk = document.createDocumentFragment();
    for (; drawn < until; drawn += 1) chunk.append(drawRow(shown[drawn]));
    body.append(chunk);
    more.hidden = drawn >= shown.length;
  }

  function drawRow(row) {
    const tr = make("tr", { role: "row" });
    for (const column of columns) {
      const td = make("td", { role: "cell", class: column.id, "data-label": column.label });
      cells[column.id](td, row);
      tr.append(td);
    }
    return tr;
  }

  const cells = {
    layer: (td, row) => (td.textContent = row.place),
    latent: (td, row) => {
      const a = make("a", { href: row.href, "aria-label": `layer ${row.layer}, latent ${row.latent}` });
      a.textContent = row.latent;
      td.append(a);
    },
    status: (td, row) => {
      td.textContent = row.status;
      td.classList.add(row.status);
    },
    words: (td, row) => {
      if (row.status !== "explained") td.classList.add("none");
      for (const words of row.words) td.append(text("span", words));
    },
    score: (td, row) => {
      interval(td, row.score);
      if (row.score) td.append(plot(row));
    },
    random: (td, row) => interval(td, row.random),
    lookup: (td, row) => (td.textContent = number(row.lookup)),
    shuffled: (td, row) => (td.textContent = number(row.shuffled)),
    false_positives: (td, row) => (td.textContent = number(row.false_positives)),
    density: (td, row) => (td.textContent = row.density_words),
    rules: (td, row) => (td.textContent = row.rules || "–"),
  };

  function interval(td, values) {
    td.append(text("span", number(first(values))));
    if (values && values[1] !== null) {
      const bounds = text("span", ` [${number(values[1])}, ${number(values[2])}]`);
      bounds.className = "interval";
      td.append(bounds);
    }
  }

  function plot(row) {
    const svg = draw_svg("svg", { class: "plot", "aria-hidden": "true" });
    for (const at of [0, 0.5, 1]) svg.append(line("grid", at, at, "0", "100%"));
    for (const kind of ["shuffled", "lookup"]) if (row[kind] !== null) svg.append(mark(kind, row[kind], 3));
    const [value, low, high] = row.score;
    if (low !== null) svg.append(line("whisker explanation", low, high, "50%", "50%"));
    svg.append(mark("explanation", value, 4));
    return svg;
  }

  const place = (value) => {
    const share = (value - data.from) / (data.to - data.from);
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

  function makeHead() {
    for (const column of columns) {
      const th = make("th", { role: "columnheader", scope: "col", "data-id": column.id, class: column.id });
      const button = text("button", column.label);
      button.type = "button";
      button.addEventListener("click", () => {
        state.down = state.sort === column.id ? !state.down : Boolean(column.high);
        state.sort = column.id;
        writeState();
        update();
      });
      th.append(button);
      head.append(th);
    }
  }

  function fillSelect(name, values) {
    for (const value of values) form.elements[name].append(new Option(value, value));
  }

  function showState() {
    for (const name of ["q", "layer", "status", "min"]) form.elements[name].value = state[name];
    update();
  }

  makeHead();
  fillSelect("layer", new Set([...data.rows].sort(inOrder).map((row) => row.place)));
  fillSelect("status", new Set(data.rows.map((row) => row.status).sort()));
  form.addEventListener("input", () => {
    for (const name of ["q", "layer", "status", "min"]) state[name] = form.elements[name].value.trim();
    writeState();
    update();
  });
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => {
    state = { ...state, q: "", layer: "", status: "", min: "" };
    writeState();
    update();
  });
  more.addEventListener("click", () => draw());
  new IntersectionObserver((entries) => {
    if (entries.some((entry) => entry.isIntersecting) && drawn < shown.length) draw();
  }, { rootMargin: "600px" }).observe(more);
  window.addEventListener("hashchange", () => {
    state = readState();
    showState();
  });
  window.addEventListener("beforeprint", () => draw(true));
  showState();
})();
