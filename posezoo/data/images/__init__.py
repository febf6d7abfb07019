"""The image cache: pictures decoded once."""
