"""The stage of the API tests, for the rules that are held against every route."""

from __future__ import annotations

from tests.api.conftest import stage

__all__ = ["stage"]
