"""The contract that export, server and client share: specs, pixels, boxes, masks and text.

Nothing here imports torch, Triton or another fovea package.
"""

__version__ = "0.1.0"
