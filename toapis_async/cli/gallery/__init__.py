"""A page to look at the pictures of a folder, made from its manifest."""

from .folder import show_gallery

__all__ = ["show_gallery"]
