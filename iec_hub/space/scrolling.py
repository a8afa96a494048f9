"""Bringing what is new on the page into sight."""


def into_sight(element: str) -> str:
    """A script that scrolls to the element with this id where it is not in sight.

    Narrow screens show what is new far from the buttons, and any screen may be scrolled beyond it.
    """
    return f"""() => {{ const place = document.getElementById("{element}");
        const calm = window.matchMedia("(prefers-reduced-motion: reduce)").matches;
        if (window.matchMedia("(max-width: 800px)").matches || place.getBoundingClientRect().top < 0)
            place.scrollIntoView({{behavior: calm ? "auto" : "smooth"}}); }}"""
