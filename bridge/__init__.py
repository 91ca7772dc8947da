"""PySyft 0.2.9 on asyncsyft's links: ``install()``, and programs go on as they are. See README.md beside this file."""

from .client import WebsocketClientWorker
from .installing import install, uninstall
from .server import WebsocketServerWorker

__all__ = ["WebsocketClientWorker", "WebsocketServerWorker", "install", "uninstall"]
