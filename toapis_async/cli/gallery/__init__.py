"""A page to look at the pictures of a folder, made from its manifest."""

from .folder import add_gallery, show_gallery

__all__ = ["add_gallery", "show_gallery"]
