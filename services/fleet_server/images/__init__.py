"""Images of chat messages: from a URL in a request to an RGB picture.

Pillow is imported with the first image, so that a server without vision does not need it.
"""

from fleet_server.images.loader import ImageLoader, most_pixels

__all__ = ["ImageLoader", "most_pixels"]
