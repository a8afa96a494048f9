// Sorts, filters and opens the pictures of a batch, in the browser alone. Runs once, when gradio has drawn the
// component; `element`, `trigger` and `watch` are gradio's. What the server draws anew is laid onto what is there, so
// that what the visitor chose is laid on it again.
const chosen = { view: "gallery", emotion: "", certainty: "", order: "index" };
const all = (selector) => [...element.querySelectorAll(selector)];

const keyOf = (row, key) => (key === "emotion" ? row.dataset.rank : row.dataset[key]);
const textual = new Set(["name", "second", "certainty"]);

function compare(key, direction) {
  return (a, b) => {
    const [x, y] = [keyOf(a, key), keyOf(b, key)];
    // What could not be read comes last, whichever way round.
    if (x === undefined || y === undefined) return (x === undefined) - (y === undefined) || a.dataset.index - b.dataset.index;
    const difference = textual.has(key) ? x.localeCompare(y, undefined, { numeric: true }) : x - y;
    return direction * difference || a.dataset.index - b.dataset.index;
  };
}

function fits(row) {
  return (!chosen.emotion || row.dataset.emotion === chosen.emotion)
    && (!chosen.certainty || row.dataset.certainty === chosen.certainty);
}

function arrange() {
  const table = element.querySelector(".iec-table");
  if (!table) return;
  const selects = all("select[data-control]");
  for (const select of selects) {
    const known = [...select.options].some((option) => option.value === chosen[select.dataset.control]);
    // Another batch may have other labels; a table may be sorted in a way that the list does not offer.
    if (!known && select.dataset.control !== "order") chosen[select.dataset.control] = "";
    select.value = chosen[select.dataset.control];
  }
  const [key, direction] = chosen.order.startsWith("-") ? [chosen.order.slice(1), -1] : [chosen.order, 1];
  const tiles = element.querySelector(".iec-tiles");
  for (const list of [tiles, table.querySelector("tbody")]) {
    const rows = [...list.children];
    const sorted = [...rows].sort(compare(key, direction));
    // Moving what stands where it should would take the focus from it.
    if (sorted.some((row, place) => row !== rows[place])) list.append(...sorted);
    for (const row of rows) row.hidden = !fits(row);
  }
  const shown = [...tiles.children].filter((row) => !row.hidden).length;
  for (const head of all("th[data-column]")) {
    if (head.dataset.column === key) head.setAttribute("aria-sort", direction < 0 ? "descending" : "ascending");
    else head.removeAttribute("aria-sort");
  }
  for (const button of all("[data-show]")) button.setAttribute("aria-pressed", button.dataset.show === chosen.emotion);
  for (const radio of all("input[type=radio]")) radio.checked = radio.value === chosen.view;
  for (const dot of all("circle[data-index]")) {
    const row = tiles.querySelector(`:scope > [data-index="${dot.dataset.index}"]`);
    dot.classList.toggle("iec-faded", row !== null && row.hidden);
  }
  tiles.hidden = chosen.view !== "gallery" || !shown;
  table.hidden = chosen.view !== "table" || !shown;
  element.querySelector(".iec-none").hidden = shown > 0;
  const count = element.querySelector(".iec-count");
  const text = count.dataset.text.replace("{shown}", shown).replace("{all}", tiles.children.length);
  if (count.textContent !== text) count.textContent = text;
}

element.addEventListener("change", (event) => {
  const control = event.target.dataset.control ?? (event.target.type === "radio" ? "view" : null);
  if (!control) return;
  chosen[control] = event.target.value;
  arrange();
});
element.addEventListener("click", (event) => {
  const target = event.target.closest("[data-open],[data-sort],[data-show],circle[data-index]");
  if (!target) return;
  const { open: place, sort, show, index } = target.dataset;
  if (sort) chosen.order = chosen.order === sort ? `-${sort}` : sort;
  else if (show !== undefined) chosen.emotion = chosen.emotion === show ? "" : show;
  else return trigger("select", { index: Number(place ?? index) });
  arrange();
});
watch("value", arrange);
arrange();
