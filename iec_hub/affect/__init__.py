"""Emotional attributes of pictures: what they show, how bright and colourful they are, and captions made of that."""
