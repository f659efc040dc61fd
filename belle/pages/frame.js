"use strict";
// The page is complete without this script: it adds the theme switch and the copy buttons.
(() => {
  document.documentElement.classList.add("js");

  // Theme: the system's, until the button is used. A page opened from a file may have no storage.
  const stored = { get: () => { try { return localStorage.getItem("belle-theme"); } catch { return null; } },
                   set: (value) => { try { localStorage.setItem("belle-theme", value); } catch { /* forgotten on reload */ } } };
  const root = document.documentElement;
  if (stored.get()) root.dataset.theme = stored.get();
  document.getElementById("theme").addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    stored.set(root.dataset.theme);
  });

  for (const button of document.querySelectorAll(".copy")) {
    button.addEventListener("click", () => {
      const code = button.parentElement.querySelector("code");
      const done = () => { button.textContent = "copied"; setTimeout(() => { button.textContent = "copy"; }, 1500); };
      const select = () => { const range = document.createRange(); range.selectNodeContents(code);
                             const selection = getSelection(); selection.removeAllRanges(); selection.addRange(range); };
      if (navigator.clipboard) navigator.clipboard.writeText(code.textContent).then(done, select); else select();
    });
  }
})();
