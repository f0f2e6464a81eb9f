// Light or dark as the reader's system has it, until the button says otherwise; then draw.

const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = name => {
  document.documentElement.dataset.theme = name;
  heats.forEach(paint => paint());
  repaintAll();
};
const themeButton = () => el("button", { onclick: () => setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark") }, "light / dark");
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
document.documentElement.dataset.theme = dark.matches ? "dark" : "light";

const payload = JSON.parse(document.getElementById("payload").textContent);
const page = document.getElementById("page");
page.replaceChildren(...(payload.kind === "run" ? runPage(payload) : comparePage(payload)).flat(Infinity).filter(node => node));
document.body.append(tip);
page.dataset.drawn = "yes";
