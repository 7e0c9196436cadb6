"""The API answers, and is ready."""
# ruff: noqa: INP001, T201 - a script of a ConfigMap; it prints what `helm test --logs` shows

import os
import sys

import httpx2

answer = httpx2.get(f"{os.environ['LONGHAUL_URL']}/readyz", timeout=10)
print(f"{answer.url}: {answer.status_code} {answer.text}")
sys.exit(0 if answer.is_success else 1)
