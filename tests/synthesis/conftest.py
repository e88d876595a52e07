import importlib.util
from pathlib import Path

import pytest

_SPEC = importlib.util.spec_from_file_location("chat_server", Path(__file__).parent.parent / "llm" / "chat_server.py")
_MODULE = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(_MODULE)


@pytest.fixture
def serve():
    """Start chat servers that end with the test."""
    servers = []

    def start(*args, **options):
        servers.append(_MODULE.ChatServer(*args, **options))
        return servers[-1]

    yield start
    for server in servers:
        server.close()
