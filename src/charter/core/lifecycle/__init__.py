"""When a workspace is warned, stopped, deleted, and how reality is led to what was decided."""
