"""Plugins: finding them, loading them safely, and looking up what they registered."""

from __future__ import annotations

from mmgan.plugins.loading import Plugin
from mmgan.plugins.manager import Plugins
from mmgan.plugins.registry import Entry

__all__ = ["Entry", "Plugin", "Plugins"]
