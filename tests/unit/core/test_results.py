"""The result store on a real folder: what was written comes back whole, and whatever else is there is told from it."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from uuid import UUID, uuid4

import pytest
from tests.stores import store_away

from longhaul.errors import ConfigurationError, ResultGone, ResultStoreUnavailable
from longhaul.results import CHUNK_BYTES, ResultStore, StoredResult
from longhaul.settings import Settings, load_settings

pytestmark = pytest.mark.anyio

RESULT = b'"' + b"0123456789abcdef" * (CHUNK_BYTES // 8) + b'"'
"""A little more than two chunks."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def store(folder: Path) -> ResultStore:
    return ResultStore(f"file://{folder}", timeout_seconds=5)


async def put(store: ResultStore, *, job_id: UUID | None = None, epoch: int = 1) -> StoredResult:
    return await store.put(RESULT, tenant="a/b", job_id=job_id or uuid4(), epoch=epoch)


async def read(store: ResultStore, stored: StoredResult) -> tuple[bytes, type[Exception] | None]:
    """What came, and what it ended with."""
    chunks: AsyncIterator[bytes] = await store.read(stored)
    received = b""
    try:
        async for chunk in chunks:
            assert len(chunk) <= CHUNK_BYTES
            received += chunk
    except ResultGone as error:
        return received, type(error)
    return received, None


async def test_a_result_comes_back_in_chunks(store: ResultStore) -> None:
    job_id = uuid4()
    stored = await put(store, job_id=job_id, epoch=7)
    assert stored.key == f"results/a%2Fb/{job_id}/7.json"
    assert stored.size_bytes == len(RESULT)
    assert await read(store, stored) == (RESULT, None)


async def test_a_result_that_is_not_there_is_gone(store: ResultStore) -> None:
    stored = await put(store)
    await store.delete([stored.key])
    with pytest.raises(ResultGone):
        await store.read(stored)


async def test_a_changed_result_never_looks_whole(store: ResultStore, folder: Path) -> None:
    stored = await put(store)
    path = folder / stored.key
    path.write_bytes(RESULT[:-2] + b'!"')
    received, error = await read(store, stored)
    assert error is ResultGone
    assert len(received) < len(RESULT)
    path.write_bytes(RESULT[: CHUNK_BYTES + 10])
    received, error = await read(store, stored)
    assert error is ResultGone
    assert len(received) == CHUNK_BYTES


async def test_what_is_listed_is_told_by_job_and_epoch(store: ResultStore, folder: Path) -> None:
    assert [page async for page in store.objects()] in ([], [[]])
    job_id = uuid4()
    stored = [await put(store, job_id=job_id, epoch=epoch) for epoch in (1, 2)]
    (folder / "results" / "README").write_text("somebody else's")
    found = [one async for page in store.objects() for one in page]
    assert {(one.key, one.job_id, one.epoch) for one in found} == {
        (one.key, job_id, epoch) for epoch, one in enumerate(stored, start=1)
    }


async def test_to_delete_what_is_gone_is_no_error(store: ResultStore) -> None:
    first, second = await put(store), await put(store)
    await store.delete([first.key])
    await store.delete([first.key, second.key])
    assert not [one async for page in store.objects() for one in page]


async def test_a_store_that_is_away_is_told_from_a_result_that_is_gone(store: ResultStore, folder: Path) -> None:
    stored = await put(store)
    with store_away(folder):
        with pytest.raises(ResultStoreUnavailable):
            await put(store)
        with pytest.raises(ResultStoreUnavailable):
            await store.read(stored)
        with pytest.raises(ResultStoreUnavailable):
            await anext(aiter(store.objects()))
    assert await read(store, stored) == (RESULT, None)


async def test_a_folder_may_come_later(folder: Path) -> None:
    with store_away(folder):
        late = ResultStore(f"file://{folder}", timeout_seconds=5)
        with pytest.raises(ResultStoreUnavailable):
            await put(late)
    assert await read(late, await put(late)) == (RESULT, None)


async def test_a_bucket_that_nobody_answers_for_is_away() -> None:
    options = {"endpoint": "http://127.0.0.1:1", "access_key_id": "a", "secret_access_key": "b", "region": "x"}
    with pytest.raises(ResultStoreUnavailable):
        await put(ResultStore("s3://bucket/path", options, timeout_seconds=5))


@pytest.mark.parametrize(
    ("url", "options", "sentence"),
    [
        ("https://example.com", "", r"^LONGHAUL_RESULT_STORE_URL: must look like s3://bucket/path"),
        ("s3://bucket", "[1]", r"^LONGHAUL_RESULT_STORE_OPTIONS: must be a JSON object of texts"),
        ("s3://bucket", "{", r"^LONGHAUL_RESULT_STORE_OPTIONS: must be a JSON object of texts"),
        ("s3://bucket", '{"colour": "red"}', r"^LONGHAUL_RESULT_STORE_URL and .* name no store: .*'colour'"),
    ],
)
def test_settings_that_name_no_store_are_told(
    url: str, options: str, sentence: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LONGHAUL_DATABASE_URL", "postgresql://host/db")
    monkeypatch.setenv("LONGHAUL_REDIS_URL", "redis://host")
    monkeypatch.setenv("LONGHAUL_RESULT_STORE_URL", url)
    monkeypatch.setenv("LONGHAUL_RESULT_STORE_OPTIONS", options)
    with pytest.raises(ConfigurationError, match=sentence):
        load_settings(Settings).create_result_store()


def test_without_a_url_there_is_no_store() -> None:
    assert Settings(database_url="postgresql://h/d", redis_url="redis://h").create_result_store() is None
