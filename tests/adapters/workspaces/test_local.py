"""The local provider keeps every promise of the port."""

from __future__ import annotations

from tests.adapters.workspaces import needs
from tests.adapters.workspaces.contract import ProviderContract


@needs.sandbox
class TestLocalProvider(ProviderContract):
    pass
