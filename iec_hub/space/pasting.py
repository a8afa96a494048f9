"""Pasting pictures with the keyboard, wherever on the page."""

# Gradio takes a picture out of the clipboard only by its own small button. What is text goes where it is written.
PASTE = """() => document.addEventListener("paste", (event) => {
    const files = [...event.clipboardData.files];
    const places = ["iec-picture", "iec-many-files"].map((id) => document.getElementById(id));
    const input = places.find((place) => place?.checkVisibility())?.querySelector("input[type=file]");
    if (!files.length || !input) return;
    event.preventDefault();
    const pasted = new DataTransfer();
    for (const file of files.slice(0, input.multiple ? files.length : 1)) pasted.items.add(file);
    input.files = pasted.files;
    input.dispatchEvent(new Event("change", {bubbles: true}));
})"""
