"""The catalogue of faults is whole: each is shown by a test."""

from tests.faults.catalogue import FAULTS, shown_by


def test_every_fault_is_shown() -> None:
    missing = FAULTS.keys() - shown_by().keys()
    assert not missing, f"no test carries the mark of {sorted(missing)}"
