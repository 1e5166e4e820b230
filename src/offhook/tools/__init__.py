"""Functions in Python that an agent may call: `from offhook.tools import tool`."""

from offhook.tools.declare import Call, ToolError, Variable, tool

__all__ = ["Call", "ToolError", "Variable", "tool"]
