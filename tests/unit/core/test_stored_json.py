"""Whatever PostgreSQL's json type took can be read, and what was read can be shown."""

from __future__ import annotations

import json

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic_core import from_json

from longhaul.ledger.stored_json import SHOWN_LEVELS, encode, loads

ODD = {
    "1e400": "1e400",
    "-1e400": "-1e400",
    "9" * 400: "9" * 400,
    "-" + "9" * 5000: "-" + "9" * 5000,
    '"\\ud800"': "\\ud800",
    '{"\\udfff": ["\\ud83d\\ude00 \\ud83d"]}': {"\\udfff": ["\U0001f600 \\ud83d"]},
    '["\\ud800", 1e400, 7, 18446744073709551616, 1.5, null, true]': ["\\ud800", "1e400", 7, 2.0**64, 1.5, None, True],
    '"\\u0000"': "\0",
    "1180591620717411303424": 2.0**70,
}


@pytest.mark.parametrize(("text", "value"), ODD.items(), ids=range(len(ODD)))
def test_a_value_that_parsers_refuse_is_read_as_text_in_its_place(text: str, value: object) -> None:
    assert loads(text.encode()) == value
    assert from_json(encode(value)) == value


@pytest.mark.parametrize("depth", [1, 200, 254, 255, 1000, 1024, 1025, 3000, 100_000])
@pytest.mark.parametrize("inner", ["1", '"\\ud800"'])
def test_any_depth_is_read_and_shown(depth: int, inner: str) -> None:
    value = loads(("[" * depth + inner + "]" * depth).encode())
    orjson.loads(encode({"jobs": [{"params": value}]}))
    value = loads(('{"a":' * depth + inner + "}" * depth).encode())
    shown = orjson.loads(encode([value, "neighbour"]))
    assert shown[1] == "neighbour"


@pytest.mark.parametrize("depth", [255, 1000, 3000])
def test_what_is_too_deep_is_cut_and_the_rest_is_shown(depth: int) -> None:
    deep = '[{"a\\"[": ' * depth + "[]" + "}]" * depth
    shown = encode(loads(f'{{"deep": {deep}, "text": "[]]\\\\", "also": {deep}, "number": 7}}'.encode()))
    value = orjson.loads(shown)
    assert (list(value), value["text"], value["number"]) == (["deep", "text", "also", "number"], "[]]\\", 7)
    assert value["deep"] == value["also"]
    assert shown.count(b"too deeply") == 2
    assert shown.count(b"[{") + shown.count(b":[") == pytest.approx(2 * SHOWN_LEVELS, abs=4)


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(st.characters()), lambda some: st.lists(some) | st.dictionaries(st.text(), some)))  # fmt: skip
def test_what_any_program_writes_as_json_is_read_and_shown(value: object) -> None:
    orjson.loads(encode(loads(json.dumps(value).encode())))
