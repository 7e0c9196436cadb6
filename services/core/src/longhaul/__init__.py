"""Longhaul: hour-long work behind a fast API. Task authors need only what is imported here."""

from longhaul.errors import Cancelled, HandOver, Permanent, Retryable, SoftTimeout
from longhaul.job import Job
from longhaul.task import task

__all__ = ["Cancelled", "HandOver", "Job", "Permanent", "Retryable", "SoftTimeout", "task"]
