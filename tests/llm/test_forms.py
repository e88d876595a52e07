"""Answers of a given form: found in what is around them, and refused with words that help."""

import json

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from benchmark.llm.forms import Form, FormError, form

QUESTIONS = form(
    "questions",
    {
        "type": "object",
        "additionalProperties": False,
        "required": ["questions"],
        "properties": {
            "questions": {
                "type": "array", "minItems": 2, "maxItems": 2,
                "items": {
                    "type": "object", "additionalProperties": False, "required": ["text", "type"],
                    "properties": {"text": {"type": "string"}, "type": {"enum": ["keywords", "edge"]}},
                },
            }
        },
    },
)  # fmt: skip
ANY = form("any", {"type": "object"})
FINE = {"questions": [{"text": "a {b} `c`", "type": "edge"}, {"text": "</think> ```\nüñ", "type": "keywords"}]}
TEXT = json.dumps(FINE)


@pytest.mark.parametrize(
    "around",
    [
        "{}", " \n{}\n", "```json\n{}\n```", "Here you are:\n```\n{}\n```\nAnything else?", "Sure: {} I hope it helps.",
        "<think>a {{ brace }} and </think>\n{}", "no tag before </think>{}", "<think>a</think><think>b</think>\n{}",
        "```python\nprint()\n```\n```json\n{}\n```", "\ufeff{}", '```json\n{{"questions": []}}\n```\n```json\n{}\n```',
    ],
)  # fmt: skip
def test_the_object_is_found_in_what_is_around_it(around):
    text = around.replace("{{", "\0").replace("}}", "\1").replace("{}", TEXT).replace("\0", "{").replace("\1", "}")
    assert QUESTIONS.read(text) == FINE


def test_line_breaks_inside_a_text_do_no_harm():
    assert ANY.read('{"a": "one\ntwo"}') == {"a": "one\ntwo"}


@pytest.mark.parametrize(
    ("text", "kind", "said"),
    [
        ("I would rather not.", "no JSON object", "there is no JSON object"),
        ('<think>{"questions": []} or so</think> none', "no JSON object", "there is no JSON object"),
        ('{"questions": []} or so</think> none', "broken JSON", "not JSON: Extra data"),
        ("<think>{} and so on", "no JSON object", "there is no JSON object"),
        ("[" + TEXT + "]", "no JSON object", "not an object in braces"),
        (TEXT[:-3], "broken JSON", "not JSON: Expecting ',' delimiter (line 1, column"),
        ("{'questions': []}", "broken JSON", "not JSON"),
        ('{"a":' * 100_000, "broken JSON", "not JSON"),
        ("{}", "required", "'questions' is a required property"),
        ('Sure {x}: {"questions": 1} ok', "broken JSON", "not JSON"),
        ('{"questions": [1]}', "minItems of questions", "questions: [1] is too short (minItems: 2)"),
        (TEXT.replace("edge", "odd"), "enum of questions[].type", "questions[0].type: 'odd' is not one of"),
        (TEXT.replace('"edge"', '"keywords", "why": 1'), "additionalProperties of questions[]", "questions[0]: "),
        ('{"questions": NaN}', "no finite number", "NaN"),
        ('{"questions": [-Infinity]}', "no finite number", "-Infinity"),
        ('{"questions": 1e999}', "no finite number", "1e999"),
        ('{"questions": ' + "9" * 5000 + "}", "no finite number", "too long"),
        ('{"questions": [], "questions": []}', "a key twice", "'questions' stands twice"),
        ('{"questions": "\\ud800"}', "broken text", "surrogate"),
    ],
)
def test_what_is_wrong_is_one_short_line(text, kind, said):
    with pytest.raises(FormError) as caught:
        QUESTIONS.read(text)
    assert caught.value.kind == kind and said in str(caught.value)
    assert len(str(caught.value)) <= 200 and "\n" not in str(caught.value)


def test_a_long_value_does_not_hide_what_is_wrong_with_it():
    wrong = {"questions": [{"text": ["word " * 100], "type": "edge"}, {"text": "a", "type": "edge"}]}
    with pytest.raises(FormError, match=r"^questions\[0\]\.text: \['[word ]{38}\.\.\. is not of type 'string'$"):
        QUESTIONS.read(json.dumps(wrong))


def test_an_object_that_breaks_the_schema_says_more_than_a_broken_one():
    with pytest.raises(FormError, match="'a' was unexpected"):
        QUESTIONS.read('{ not JSON }\n```json\n{"a": 1}\n```')


def test_one_object_has_one_text():
    wrapped = QUESTIONS.canonical("Sure:\n```json\n" + json.dumps(FINE, indent=3) + "\n```")
    assert wrapped == QUESTIONS.canonical(TEXT) == json.dumps(FINE, sort_keys=True, ensure_ascii=False)
    assert "üñ" in wrapped and QUESTIONS.canonical(wrapped) == wrapped


def test_equal_schemas_are_one_form():
    one, other = form("f", {"type": "object", "required": ["a"]}), form("f", {"required": ["a"], "type": "object"})
    assert one == other and one.key == other.key and one.as_dict == {"type": "object", "required": ["a"]}
    assert len({one.key, form("g", one.as_dict).key, form("f", {"type": "object"}).key}) == 3
    assert isinstance(one, Form) and one.key.startswith("f/")


json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**9), 10**9) | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)  # fmt: skip


@settings(suppress_health_check=[HealthCheck.too_slow], deadline=None)
@given(st.dictionaries(st.text(st.characters(exclude_categories=["Cs"]), max_size=5), json_values, max_size=3))
def test_every_object_is_read_as_it_was_written(value):
    try:
        text = json.dumps(value, ensure_ascii=False)
        text.encode("utf-8")
    except UnicodeEncodeError:
        return
    assert ANY.read(text) == ANY.read(ANY.canonical(text)) == ANY.read("Well:\n" + text) == value


@settings(deadline=None)
@given(st.text())
def test_no_text_leads_to_another_error(text):
    try:
        assert isinstance(ANY.read(text), dict)
    except FormError as error:
        assert error.text and error.kind
