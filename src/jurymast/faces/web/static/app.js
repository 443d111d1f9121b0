"use strict";
// Keeps the sections of the page fresh. Everything it shows was rendered, and escaped, by the server.

const link = document.getElementById("link");
const filter = document.getElementById("filter");
const SILENCE_MS = 20000;
let heard = Date.now();

function show(sections) {
  for (const [id, html] of Object.entries(sections)) {
    const place = document.getElementById(id);
    if (!place || place.contains(document.activeElement) && document.activeElement !== document.body) continue;
    const list = place.querySelector(".events");
    const scrolled = list ? list.scrollTop : 0;
    place.innerHTML = html;
    if (id === "events") { narrow(); place.querySelector(".events").scrollTop = scrolled; }
  }
}

function narrow() {
  const wanted = filter.value.trim().toLowerCase();
  for (const line of document.querySelectorAll(".events li"))
    line.hidden = wanted !== "" && !line.textContent.toLowerCase().includes(wanted);
}

function tell(text, lost) {
  link.textContent = text;
  link.classList.toggle("lost", lost);
}

const source = new EventSource("/live?span=" + encodeURIComponent(link.dataset.span));
source.onopen = () => { heard = Date.now(); tell("live", false); };
source.onmessage = (event) => { heard = Date.now(); tell("live", false); show(JSON.parse(event.data)); };
source.onerror = () => tell("connection lost", true);

setInterval(() => {
  if (Date.now() - heard > SILENCE_MS && source.readyState !== EventSource.OPEN) tell("connection lost", true);
  for (const count of document.querySelectorAll("[data-count]")) {
    const left = Math.max(0, Number(count.dataset.count) - 1);
    count.dataset.count = count.textContent = String(left);
  }
}, 1000);

filter.addEventListener("input", narrow);

// A control asks once more; without the answer yes nothing is sent.
const dialog = document.getElementById("confirm");
let pending = null;
document.addEventListener("submit", (event) => {
  const form = event.target;
  if (!form.dataset.confirm || form.elements.confirm) return;
  event.preventDefault();
  pending = form;
  document.getElementById("confirm-text").textContent = form.dataset.confirm;
  dialog.showModal();
});
// Not by the dialog's close event: it comes late, and may be that of the question before.
dialog.querySelector("button[value=yes]").addEventListener("click", () => {
  if (!pending) return;
  const field = document.createElement("input");
  field.type = "hidden"; field.name = "confirm"; field.value = "yes";
  pending.append(field);
  pending.requestSubmit();
});

const SPANS = { 1: "24h", 2: "7d", 3: "90d" };
const PLACES = { p: "providers", m: "money", d: "decisions", c: "controls" };
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || document.querySelector("dialog[open]")) return;
  if (event.target.matches("input, select, textarea")) {
    if (event.key === "Escape") event.target.blur();
    return;
  }
  if (event.key === "?") document.getElementById("keys").showModal();
  else if (event.key === "/") { event.preventDefault(); filter.focus(); }
  else if (SPANS[event.key]) location.search = "?span=" + SPANS[event.key];
  else if (PLACES[event.key]) document.getElementById(PLACES[event.key]).scrollIntoView({ behavior: "smooth" });
});
