"""Charter: a governance control plane for cloud development environments."""

__version__ = "0.1.0"
