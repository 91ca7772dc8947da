"""PySyft 0.2.9 on asyncsyft's links: ``install()``, and programs go on as they are. See README.md beside this file."""

from .client import WebsocketClientWorker
from .installing import install, uninstall
from .network import Network, connect
from .notebook import load_ipython_extension, unload_ipython_extension
from .server import WebsocketServerWorker
from .socketio import WebsocketIOClientWorker, WebsocketIOServerWorker

__all__ = [
    "Network",
    "WebsocketClientWorker",
    "WebsocketIOClientWorker",
    "WebsocketIOServerWorker",
    "WebsocketServerWorker",
    "connect",
    "install",
    "load_ipython_extension",
    "uninstall",
    "unload_ipython_extension",
]
