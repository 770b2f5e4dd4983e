"""Fixtures: the images that the chart runs."""

from __future__ import annotations

from tests.images.conftest import images

__all__ = ["images"]
