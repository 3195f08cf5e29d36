"""A family of another package, the torch side."""

from export.families.clip import ClipExport


class NewcomerClipExport(ClipExport):
    pass
