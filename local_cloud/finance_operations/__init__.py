"""The simulated Dynamics 365 Finance & Operations: its data management package API over a small real data store."""

from local_cloud.finance_operations.api import SERVICE, FinanceOperationsSimulator
from local_cloud.finance_operations.knobs import Behaviour, Speed

__all__ = ["SERVICE", "Behaviour", "FinanceOperationsSimulator", "Speed"]
