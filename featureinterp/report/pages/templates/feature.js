// A feature's page: the numbers of a token by mouse, touch or arrow keys; the tokens that a rule claims; the causes of
// activations on demand; links into closed lists; the copy buttons.
"use strict";

(() => {
  const readout = document.getElementById("readout");
  let at = null;

  function show(token) {
    if (!readout) return;
    if (at) at.classList.remove("at");
    at = token;
    readout.replaceChildren();
    if (!token) return;
    token.classList.add("at");
    const code = document.createElement("code");
    code.textContent = token.textContent;
    readout.append(code, ` ${token.title || "true 0.0, expected 0.0"}`);
  }

  document.addEventListener("click", (event) => {
    const token = event.target.closest(".sentence i");
    if (token) show(token);
  });
  document.addEventListener("keydown", (event) => {
    const sentence = document.activeElement.closest(".sentence");
    if (!sentence || !["ArrowLeft", "ArrowRight", "Escape"].includes(event.key)) return;
    event.preventDefault();
    if (event.key === "Escape") return show(null);
    const tokens = [...sentence.querySelectorAll("i")];
    const step = event.key === "ArrowRight" ? 1 : -1;
    const next = tokens.indexOf(at) + step;
    show(tokens[Math.min(Math.max(next, 0), tokens.length - 1)] || null);
  });

  // A rule under the pointer or in focus lights up what it claims; one that is chosen stays lit.
  const rules = [...document.querySelectorAll("[data-rule]")];
  const lit = document.getElementById("lit");
  const hint = lit ? lit.textContent : "";
  let chosen = null;

  function light(rule) {
    for (const token of document.querySelectorAll(".sentence i.lit")) token.classList.remove("lit");
    for (const button of rules) button.classList.toggle("on", button.dataset.rule === rule);
    if (rule === null) return void (lit && (lit.textContent = hint));
    const tokens = [...document.querySelectorAll(`.sentence i.r${Number(rule)}`)];
    for (const token of tokens) token.classList.add("lit");
    const worst = tokens.filter((token) => token.closest("#breaks")).length;
    if (lit && !tokens.length) lit.textContent = "The rule claims no token (none expected above level 1).";
    else if (lit) lit.textContent = `${tokens.length} tokens highlighted below, ${worst} of them in the worst sentences.`;
  }

  for (const button of rules) {
    const rule = button.dataset.rule;
    for (const event of ["pointerenter", "focus"]) button.addEventListener(event, () => light(rule));
    for (const event of ["pointerleave", "blur"]) button.addEventListener(event, () => light(chosen));
    button.addEventListener("click", () => {
      chosen = chosen === rule ? null : rule;
      for (const other of rules) other.setAttribute("aria-pressed", String(other.dataset.rule === chosen));
      light(chosen);
    });
  }

  const toggles = [...document.querySelectorAll(".causes-toggle")];
  for (const toggle of toggles) {
    toggle.hidden = false;
    toggle.addEventListener("click", () => {
      const shown = document.body.classList.toggle("causes");
      for (const other of toggles) other.setAttribute("aria-pressed", String(shown));
    });
  }

  function openTarget() {
    const target = /^#w\d+$/.test(location.hash) && document.getElementById(location.hash.slice(1));
    if (!target) return;
    target.closest("details").open = true;
    target.scrollIntoView({ block: "center" });
  }
  addEventListener("hashchange", openTarget);
  openTarget();

  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue; // not in every browser when opened from a file
    button.hidden = false;
    const label = button.firstChild;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
        label.textContent = "Copied";
      } catch (error) {
        label.textContent = "Select and copy by hand";
      }
      setTimeout(() => (label.textContent = "Copy"), 2000);
    });
  }
})();
