"""Functions in Python that an agent may call: `from offhook.tools import Call, ToolError, tool`."""

from offhook.tools.declare import Call, ToolError, tool

__all__ = ["Call", "ToolError", "tool"]
