"""`documents.index`: what it finds, and that it ends the same however often it was stopped on its way."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from uuid import UUID

import pytest
from pydantic import JsonValue, ValidationError

from longhaul import Cancelled, HandOver, Permanent
from longhaul.testing import RecordingChannel, recording_job
from longhaul_examples.documents import IndexParams, IndexResult, index
from longhaul_examples.listing import default_folders
from longhaul_examples.vector_index import search

FILES_PER_STEP = 3


class Killed(BaseException):
    """Stands for the end of the process: nothing in the task may catch it."""


class KillingLine(RecordingChannel):
    """Kills the attempt at its `at`-th word, be it progress or a checkpoint (which is saved, or not)."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at
        self.words = 0

    def progress(self, fraction: float, message: str, data: dict[str, JsonValue]) -> None:
        self._count()
        super().progress(fraction, message, data)

    def checkpoint(self, state: JsonValue) -> None:
        self._count()
        super().checkpoint(state)
        self._count()

    def _count(self) -> None:
        self.words += 1
        if self.words == self.at:
            raise Killed


@pytest.fixture
def library(tmp_path: Path) -> Path:
    """Twenty small text files in folders, two of them about something that can be asked for."""
    folder = tmp_path / "library"
    for number in range(18):
        place = folder / f"shelf{number % 4}" / f"book{number:02}.md"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(
            "".join(f"Line {line} of book {number} tells of topic{number * line % 7}.\n" for line in range(60))
        )
    (folder / "retries.py").write_text("\n" * 50 + "class ExponentialBackoff:\n    '''Retries with jitter.'''\n")
    (folder / "shelf0" / "fruit.txt").write_text("Apples and pears grow in the orchard.\n")
    return folder


def params(library: Path, index_folder: Path, **others: object) -> IndexParams:
    values = {"folders": [str(library)], "index_folder": str(index_folder), "files_per_step": FILES_PER_STEP} | others
    return IndexParams.model_validate(values)


def run(given: IndexParams, line: RecordingChannel | None = None, checkpointed: JsonValue = None) -> IndexResult:
    job, _ = recording_job(channel=line, checkpointed=checkpointed)
    result = index(job, given)
    assert isinstance(result, IndexResult)
    return result


def test_finds_what_was_asked_for_with_its_lines_and_words(library: Path, tmp_path: Path) -> None:
    result = run(params(library, tmp_path / "index", query="exponential backoff, retry", top=3))
    best = result.matches[0]
    assert (best.folder, best.path, best.first_line, best.last_line) == (str(library), "retries.py", 41, 53)
    assert "class ExponentialBackoff" in best.snippet
    assert 0 < best.score <= 1
    assert len(result.matches) == 1, "the other files name none of the query's words"


def test_counts_what_it_read(library: Path, tmp_path: Path) -> None:
    result = run(params(library, tmp_path / "index"))
    texts = [path.read_bytes() for path in library.rglob("*.*")]
    assert result.files == len(texts) == 20
    assert result.bytes == sum(map(len, texts))
    assert result.chunks == 18 * 2 + 2
    assert result.index_bytes == sum(
        path.stat().st_size for path in (tmp_path / "index").iterdir() if path.name != "index.json"
    )
    assert set(result.skipped.values()) == {0}


def test_the_best_match_for_a_files_own_words_is_that_file(library: Path, tmp_path: Path) -> None:
    text = (library / "shelf0" / "fruit.txt").read_text()
    best = run(params(library, tmp_path / "index", query=text)).matches[0]
    assert (best.path, best.score) == ("shelf0/fruit.txt", 1.0)


def test_a_query_of_unknown_words_has_no_matches(library: Path, tmp_path: Path) -> None:
    assert run(params(library, tmp_path / "index", query="zyzzyva ??")).matches == []


def test_a_finished_index_can_be_searched_again(library: Path, tmp_path: Path) -> None:
    run(params(library, tmp_path / "index"))
    assert [match.path for match in search(tmp_path / "index", "pears of the orchard", top=1)] == ["shelf0/fruit.txt"]
    (library / "shelf0" / "fruit.txt").unlink()
    assert [match.snippet for match in search(tmp_path / "index", "orchard", top=1)] == [""]
    with pytest.raises(Permanent, match="holds no finished index"):
        search(tmp_path, "orchard")


def test_reports_progress_and_checkpoints_at_each_step(library: Path, tmp_path: Path) -> None:
    line = RecordingChannel()
    run(params(library, tmp_path / "index"), line)
    assert line.fractions == sorted(line.fractions)
    assert (line.fractions[0], line.fractions[-1]) == (0, 1)
    steps_list_count_weigh = 3
    assert len(line.checkpoints) == -(-20 // FILES_PER_STEP) + steps_list_count_weigh
    assert all(len(json.dumps(state)) < 4096 for state in line.checkpoints)


def test_killed_at_any_word_it_ends_as_if_undisturbed(library: Path, tmp_path: Path) -> None:
    def some(index_folder: Path) -> IndexParams:
        return params(library, index_folder, max_files=8)

    undisturbed_line = KillingLine(at=0)
    undisturbed = run(some(tmp_path / "undisturbed"), undisturbed_line)
    for at in range(1, undisturbed_line.words + 1):
        given = some(tmp_path / f"killed{at}")
        killed = KillingLine(at)
        with pytest.raises(Killed):
            run(given, killed)
        resumed = KillingLine(at=0)
        assert run(given, resumed, killed.checkpoints[-1] if killed.checkpoints else None) == undisturbed
        redone = len(killed.checkpoints) + len(resumed.checkpoints) - len(undisturbed_line.checkpoints)
        assert redone == 0, "only what came after the last checkpoint is done again"


def test_handed_over_at_every_checkpoint_it_still_ends_the_same(library: Path, tmp_path: Path) -> None:
    undisturbed = run(params(library, tmp_path / "undisturbed"))
    given = params(library, tmp_path / "index")
    checkpointed: JsonValue = None
    attempts = 0
    while True:
        attempts += 1
        line = RecordingChannel(hand_over=True)
        try:
            result = run(given, line, checkpointed)
            break
        except HandOver:
            checkpointed = line.checkpoints[-1]
    assert result == undisturbed
    assert attempts == 11


KILLED_CHILD = """
import json, sys
from longhaul.testing import RecordingChannel, recording_job
from longhaul_examples.documents import IndexParams, index

class Line(RecordingChannel):
    def checkpoint(self, state):
        print(state.decode(), flush=True)

job, _ = recording_job(channel=Line(), checkpointed=json.loads(sys.argv[2]))
index(job, IndexParams.model_validate_json(sys.argv[1]))
"""


def test_killed_with_sigkill_in_processes_of_other_hash_seeds_it_ends_the_same(library: Path, tmp_path: Path) -> None:
    undisturbed = run(params(library, tmp_path / "undisturbed"))
    resting = params(library, tmp_path / "index", step_delay_seconds=0.2)
    checkpointed: JsonValue = None
    for seed in ("1", "2"):
        command = [sys.executable, "-c", KILLED_CHILD, resting.model_dump_json(), json.dumps(checkpointed)]
        with subprocess.Popen(
            command, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONHASHSEED": seed}
        ) as child:
            assert child.stdout is not None
            for _ in range(2):
                checkpointed = json.loads(child.stdout.readline())
            child.send_signal(signal.SIGKILL)
            checkpointed = json.loads([json.dumps(checkpointed), *child.stdout.read().splitlines()][-1])
        assert child.returncode == -signal.SIGKILL
    assert run(params(library, tmp_path / "index"), checkpointed=checkpointed) == undisturbed


def test_what_is_lost_of_the_index_folder_is_made_again(library: Path, tmp_path: Path) -> None:
    line = RecordingChannel()
    given = params(library, tmp_path / "index")
    undisturbed = run(given, line)
    for lost in ("segment-000003.npz", "lengths-000000.npy", "frequencies.npz", "files.jsonl"):
        (tmp_path / "index" / lost).unlink()
        assert run(given, checkpointed=line.checkpoints[-1]) == undisturbed, lost


def test_a_checkpoint_of_another_version_starts_again(library: Path, tmp_path: Path) -> None:
    given = params(library, tmp_path / "index")
    line = RecordingChannel()
    assert run(given, line, {"cursor": 3}) == run(given)
    assert ("warning", "The checkpoint is of another version of this task: starting again.", {}) in line.logs


def test_an_index_folder_can_be_used_again_for_other_files(library: Path, tmp_path: Path) -> None:
    large = run(params(library, tmp_path / "index"))
    (tmp_path / "index" / "mine.txt").write_text("Not the task's.")
    small = run(params(library / "shelf1", tmp_path / "index", folders=[str(library / "shelf1")]))
    assert small.files < large.files
    assert small == run(params(library, tmp_path / "other", folders=[str(library / "shelf1")]))
    assert (tmp_path / "index" / "mine.txt").exists()


def test_the_digest_follows_the_content_and_nothing_else(library: Path, tmp_path: Path) -> None:
    first = run(params(library, tmp_path / "a"))
    os.utime(library / "retries.py", (0, 0))
    assert run(params(library, tmp_path / "b")) == first
    (library / "retries.py").write_text("class LinearBackoff:\n")
    assert run(params(library, tmp_path / "c")).index_digest != first.index_digest


def test_a_cancelled_job_stops_and_leaves_no_index_in_the_cache(
    library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    job, _ = recording_job(channel=RecordingChannel(cancelled=True))
    with pytest.raises(Cancelled):
        index(job, IndexParams(folders=[str(library)]))
    assert list((tmp_path / "cache" / "longhaul" / "documents").iterdir()) == []


def test_a_cancel_ends_the_rest_between_two_steps(library: Path, tmp_path: Path) -> None:
    class Checkpointed(RecordingChannel):
        def checkpoint(self, state: JsonValue) -> None:
            super().checkpoint(state)
            resting.append(self)

        @property
        def draining(self) -> bool:
            self.cancelled = bool(resting)
            return False

    resting: list[RecordingChannel] = []
    with pytest.raises(Cancelled):
        run(params(library, tmp_path / "index", step_delay_seconds=3600), Checkpointed())
    assert len(resting) == 1


def test_the_cache_keeps_the_last_few_indexes(library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for number in range(6):
        job, _ = recording_job(id=UUID(int=number))
        index(job, IndexParams(folders=[str(library)]))
        os.utime(tmp_path / "cache" / "longhaul" / "documents" / str(UUID(int=number)) / "index.json", (number, number))
    kept = sorted(path.name for path in (tmp_path / "cache" / "longhaul" / "documents").iterdir())
    assert kept == [str(UUID(int=number)) for number in (2, 3, 4, 5)]


def test_files_that_are_no_text_are_counted_and_passed_by(library: Path, tmp_path: Path) -> None:
    before = run(params(library, tmp_path / "before"))
    (library / "zero.txt").write_bytes(b"a\0b")
    (library / "latin.txt").write_bytes("Grüße".encode("latin-1"))
    (library / "large.txt").write_text("many words " * 1000)
    (library / "gone.txt").symlink_to(library / "never-there.txt")
    Path(os.fsdecode(os.fsencode(library) + b"/\xff.txt")).write_text("A name that JSON can't say.")
    (library / ".hidden").mkdir()
    (library / ".hidden" / "secret.txt").write_text("Not to be found.")
    os.mkfifo(library / "pipe.txt")
    after = run(params(library, tmp_path / "after", max_file_bytes=5000))
    assert after.skipped == {"binary": 2, "too_large": 1, "unreadable": 1, "vanished": 1}
    assert (after.files, after.chunks, after.terms) == (before.files, before.chunks, before.terms)


def test_a_file_that_vanishes_after_it_was_listed_is_counted(library: Path, tmp_path: Path) -> None:
    class Removing(RecordingChannel):
        def checkpoint(self, state: JsonValue) -> None:
            super().checkpoint(state)
            (library / "shelf3" / "book15.md").unlink(missing_ok=True)

    result = run(params(library, tmp_path / "index"), Removing())
    assert (result.files, result.skipped["vanished"]) == (19, 1)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_folders_and_files_that_may_not_be_read_are_counted(library: Path, tmp_path: Path) -> None:
    (library / "retries.py").chmod(0)
    (library / "shelf1").chmod(0)
    result = run(params(library, tmp_path / "index"))
    (library / "shelf1").chmod(0o700)
    assert (result.skipped["unreadable"], result.unreadable_folders) == (1, 1)


def test_a_folder_without_texts_gives_an_empty_index(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    result = run(params(tmp_path / "empty", tmp_path / "index"))
    assert (result.files, result.chunks, result.terms, result.matches) == (0, 0, 0, [])


def test_the_index_folder_is_never_indexed_itself(library: Path, tmp_path: Path) -> None:
    inside = library / "index"
    given = params(library, inside, patterns=["*"])
    assert run(given) == run(given)


def test_max_files_takes_the_first_of_the_sorted_files(library: Path, tmp_path: Path) -> None:
    result = run(params(library, tmp_path / "index", max_files=2, query="retry, topic3"))
    assert result.files == 2
    assert {match.path for match in result.matches} <= {"retries.py", "shelf0/book00.md"}


def test_a_missing_folder_is_a_permanent_fault_with_a_sentence(tmp_path: Path) -> None:
    with pytest.raises(
        Permanent, match=r"nowhere does not exist or can't be read: name one that this worker can read\."
    ):
        run(params(tmp_path / "nowhere", tmp_path / "index"))


def test_an_index_folder_that_cant_be_made_is_a_permanent_fault(library: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(Permanent, match="name another `index_folder`"):
        run(params(library, tmp_path / "file" / "index"))


@pytest.mark.parametrize(
    "wrong", [{"top": 0}, {"files_per_step": 0}, {"query": ""}, {"folders": []}, {"no_such_param": 1}, {"max_files": 0}]
)
def test_params_are_held_to_their_limits(wrong: dict[str, object]) -> None:
    with pytest.raises(ValidationError):
        IndexParams.model_validate(wrong)


def test_by_default_it_takes_docs_and_installed_packages() -> None:
    folders = default_folders()
    assert all(folder.is_dir() for folder in folders)
    assert any((folder / "pydantic").is_dir() for folder in folders)
    assert any(folder.name == "docs" for folder in folders)


def test_its_spec_lets_it_be_moved() -> None:
    assert (index.spec.name, index.spec.queue, index.spec.interruptible) == ("documents.index", "documents", True)
