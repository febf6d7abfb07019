"""A trained model behind HTTP: an image in, its pose out."""
