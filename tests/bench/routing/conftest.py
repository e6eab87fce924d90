"""The bench borrows the routing tests' folder for sockets."""

from tests.controller.routing.conftest import short_folder

__all__ = ["short_folder"]
