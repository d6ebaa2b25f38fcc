"""Images of chat messages: from an address a client sent to an RGB picture; used by chat.routes.

Pillow is imported when the first image is read: a server without vision needs none.
"""

from fleet_server.images.loader import ImageLoader

__all__ = ["ImageLoader"]
