"""The Gradio page: one picture in, what it evokes in viewers out. `page.py` puts it together."""
