// The page is complete without this script: it adds the read-out of the curve, tabs and filters.
(() => {
  const all = (selector, root = document) => [...root.querySelectorAll(selector)];

  // Loss curve: the nearest step under the pointer, or by arrow keys.
  const curves = JSON.parse(document.getElementById("points").textContent);
  const format = { step: (v) => v.toLocaleString("en"), epoch: (v) => v.toFixed(2), loss: (v) => v.toFixed(4), smooth: (v) => v.toFixed(4),
                   learning_rate: (v) => v.toExponential(2), tokens: (v) => v.toLocaleString("en"),
                   tokens_per_second: (v) => v.toFixed(0), grad_norm: (v) => v.toFixed(2) };
  const names = { step: "step", epoch: "epoch", loss: "loss", smooth: "running mean", learning_rate: "learning rate", tokens: "tokens",
                  tokens_per_second: "tokens/s", grad_norm: "gradient norm" };
  for (const figure of all("[data-curve]")) {
    const points = curves[Number(figure.dataset.curve)];
    const plot = figure.querySelector(".plot");
    const [cross, spot, read] = [".cross", ".spot", ".read"].map((s) => plot.querySelector(s));
    let at = points.length - 1;
    const show = (index) => {
      at = Math.max(0, Math.min(points.length - 1, index));
      const p = points[at];
      cross.style.left = spot.style.left = p.x + "%";
      spot.style.bottom = p.ys + "%";
      read.replaceChildren(...Object.keys(names).filter((key) => key in p).map((key) => {
        const line = document.createElement("span");
        const value = document.createElement("b");
        value.textContent = format[key](p[key]);
        line.append(names[key], value);
        return line;
      }));
      read.classList.toggle("left", p.x > 55);
      read.style.left = p.x + "%";
      for (const part of [cross, spot, read]) part.hidden = false;
    };
    const hide = () => { for (const part of [cross, spot, read]) part.hidden = true; };
    plot.addEventListener("pointermove", (event) => {
      const box = plot.getBoundingClientRect();
      const x = 100 * (event.clientX - box.left) / box.width;
      let [low, high] = [0, points.length - 1];
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (points[middle].x < x) low = middle; else high = middle;
      }
      show(x - points[low].x < points[high].x - x ? low : high);
    });
    plot.addEventListener("pointerleave", hide);
    plot.addEventListener("blur", hide);
    plot.addEventListener("keydown", (event) => {
      const move = { ArrowLeft: -1, ArrowRight: 1, Home: -points.length, End: points.length }[event.key];
      if (move) { event.preventDefault(); show(at + move); }
    });
  }

  // Tabs over the metrics by class.
  const tabs = all("[data-tab]");
  const choose = (key) => {
    for (const tab of tabs) tab.setAttribute("aria-selected", String(tab.dataset.tab === key));
    for (const panel of all("[data-panel]")) panel.hidden = panel.dataset.panel !== key;
  };
  for (const tab of tabs) tab.addEventListener("click", () => choose(tab.dataset.tab));
  if (tabs.length) choose(tabs[0].dataset.tab);

  // Filters over the answers.
  const form = document.getElementById("filters");
  if (form) {
    const cards = all("#cards > .card").map((card) => ({ card, text: card.textContent.normalize("NFKC").toLowerCase() }));
    const apply = () => {
      const value = (name) => (form.elements[name] ? form.elements[name].value : "");
      const words = value("words").normalize("NFKC").toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const { card, text } of cards) {
        const fits = (!value("category") || card.dataset.category === value("category"))
          && (!value("language") || card.dataset.language === value("language"))
          && (!value("mark") || card.dataset.marks.split(" ").includes(value("mark")))
          && words.every((word) => text.includes(word));
        card.hidden = !fits;
        shown += fits;
      }
      document.getElementById("shown").textContent = shown === cards.length ? `${shown} question${shown === 1 ? "" : "s"}` : `${shown} of ${cards.length}`;
      document.getElementById("none").hidden = shown > 0;
    };
    form.addEventListener("input", apply);
    form.addEventListener("submit", (event) => event.preventDefault());
    document.getElementById("reset").addEventListener("click", () => { form.reset(); apply(); });
    apply();
  }
})();
