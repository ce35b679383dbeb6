// A feature's page: the numbers of a token by mouse, touch or arrow keys; the copy button.
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

  for (const button of document.querySelectorAll(".copy")) {
    if (!navigator.clipboard) continue; // not in every browser when opened from a file
    button.hidden = false;
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(button.parentElement.querySelector("code").textContent);
        button.textContent = "Copied";
      } catch (error) {
        button.textContent = "Select and copy by hand";
      }
      setTimeout(() => (button.textContent = "Copy"), 2000);
    });
  }
})();
