// What a visitor opened or closed in a card stays so when the server draws the card anew. Runs once, when gradio has
// drawn the component; `element` and `watch` are gradio's.
const chosen = new Map();

element.addEventListener("click", (event) => {
  const summary = event.target.closest("summary");
  // It opens or closes only after this.
  if (summary) chosen.set(summary.textContent, !summary.parentElement.open);
});
watch("value", () => {
  for (const details of element.querySelectorAll("details")) {
    const open = chosen.get(details.querySelector("summary").textContent);
    if (open !== undefined) details.open = open;
  }
});
