"""The one door: every caller, every tool, in one fixed order."""

from codeb.gate.audit import AuditLog
from codeb.gate.door import Answer, Asked, Entered, Gate

__all__ = ["Answer", "Asked", "AuditLog", "Entered", "Gate"]
