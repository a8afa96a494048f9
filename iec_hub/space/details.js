// Shows what the server draws in a dialog of the browser's own, which keeps the focus and closes with Escape. Runs
// once; `element`, `trigger`, `props` and `watch` are gradio's.
const dialog = document.createElement("dialog");
dialog.className = "iec-dialog";
dialog.setAttribute("aria-labelledby", "iec-details-name");
element.replaceWith(dialog);
dialog.append(element);

// The pictures that the gallery shows, in its order.
const shown = () => [...document.querySelectorAll("#iec-many-results .iec-tiles > li[data-emotion]")]
  .filter((row) => !row.hidden).map((row) => Number(row.dataset.index));
let current = null;
let drawn = "";
const beside = (step) => {
  const places = shown();
  return places.includes(current) ? places[places.indexOf(current) + step] : undefined;
};

// So that the same picture can be opened again, and nothing of it stays in the page.
dialog.addEventListener("close", () => { props.value = drawn = ""; });
dialog.addEventListener("click", (event) => {
  const step = event.target.closest("[data-details]")?.dataset.details;
  if (event.target === dialog || step === "close") dialog.close();
  else if (step) trigger("select", { index: beside(Number(step)) });
});
watch("value", () => {
  if (!props.value) return;
  const { current: place, more } = element.querySelector("[data-current]").dataset;
  // What spoke for the answer comes later: whoever has closed the dialog since wants no more of it, nor does who looks
  // at another picture, whose details overtook it.
  const same = dialog.open && current === Number(place);
  if (more === undefined && !same) { props.value = dialog.open ? drawn : ""; return; }
  current = Number(place);
  drawn = props.value;
  for (const button of element.querySelectorAll("[data-details]:not([data-details=close])")) {
    button.disabled = beside(Number(button.dataset.details)) === undefined;
  }
  if (!dialog.open) dialog.showModal();
  // A button that can no longer be pressed would lose the focus to nothing.
  if (!dialog.contains(document.activeElement) || document.activeElement.disabled) {
    element.querySelector("#iec-details-name").focus();
  }
  if (!same) dialog.scrollTop = 0;
});
