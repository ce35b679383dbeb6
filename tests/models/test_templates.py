"""Chat templates: the same prompt on every day and in every process, or a refusal."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from pathlib import Path

import pytest
import transformers.utils.chat_template_utils as library

from featureinterp.complexity.registry import prompt_hash as complexity_hash
from featureinterp.errors import SubjectError
from featureinterp.llm.local.encoding import PromptEncoder, Turn, open_encoder, pinned_date
from featureinterp.simulator.registry import prompt_hash
from tests.models.tiny_llms import language_model, tokenizer

TURNS = [Turn("user", ("a",)), Turn("assistant", ("b",)), Turn("user", ("c",)), Turn("assistant", ())]
REST = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}"
DATES = {
    "Llama 3.2": (
        "{% if not date_string is defined %}{% set date_string = strftime_now('%d %b %Y') %}{% endif %}"
        "Today: {{ date_string }}\n",
        "Today: 26 Jul 2024\n",
    ),
    "Granite": ("Today's Date: {{ strftime_now('%B %d, %Y') }}.\n", "Today's Date: July 26, 2024.\n"),
    "gpt-oss": (
        "{%- macro system() %}{{- 'Current date: ' + strftime_now('%Y-%m-%d') + '\\n' }}{%- endmacro %}{{ system() }}",
        "Current date: 2024-07-26\n",
    ),
    "SmolLM3": (
        "{%- set today = strftime_now('%d %B %Y') -%}"
        "{%- generation -%}Today Date: {{ today ~ '\\n' }}{%- endgeneration -%}",
        "Today Date: 26 July 2024\n",
    ),
    "the day of the week": (
        "{{ strftime_now(format='%A, %-d/%-m/%y %H:%M:%S %p %%') }}\n",
        "Friday, 26/7/24 00:00:00 AM %\n",
    ),
    "asked for first": ("{% if strftime_now is defined %}{{ strftime_now('%F')[:4]|int + 1 }}{% endif %}\n", "2025"),
    "in a loop": (
        "{% for f in ['%Y', '%j', '%d'] %}{% set x = strftime_now(f) %}{{ x }}"
        "{% if loop.index == 2 %}{% break %}{% endif %}{% endfor %}\n",
        "2024208",
    ),
    "a line break first": ("\n\n{{ strftime_now('%T') }}\n", "\n\n00:00:00\n"),
    "names of no clock": ("{{ now }}{{ datetime }}{{ today }}{{ date }}{{ time }}.\n", ".\n"),
}


class Clock(datetime.datetime):
    date_number = 1

    @classmethod
    def now(cls, tz=None):
        return datetime.datetime(2026, 3, cls.date_number)


def with_template(template, **more):
    made = tokenizer("gpt4", "llama3")
    made.chat_template = template
    return PromptEncoder("tiny", made, **more)


def said(encoder: PromptEncoder) -> str:
    return encoder._tokenizer.decode([i for part in encoder.conversation(TURNS) for i in part])


@pytest.mark.parametrize("name", DATES)
def test_a_prompt_tells_one_date_on_every_day(name, monkeypatch):
    template, wanted = DATES[name]
    monkeypatch.setattr(library, "datetime", Clock)
    digests = set()
    for Clock.date_number in (1, 2):
        encoder = with_template(template + REST)
        assert said(encoder) == wanted + "<user>a<assistant>b<user>c<assistant>"
        digests.add(encoder.digest(TURNS))
    assert len(digests) == 1


def test_a_clock_of_the_library_is_the_only_one_there_is():
    """What the date is pinned by hides the library's own function, which goes by the clock."""
    assert said(with_template("{{ strftime_now('%Y') }}" + REST)).startswith("2024")
    made = tokenizer("gpt4")
    made.chat_template = "{{ strftime_now('%Y') }}"
    assert made.apply_chat_template([{"role": "user", "content": ""}], tokenize=False) == str(
        datetime.datetime.now().year
    )
    assert pinned_date().endswith("{% endmacro %}\n")


@pytest.mark.parametrize("draw", ["{{ [1, 2] | random }}", "{{ range(9)|random }}", "{{ lipsum(1) }}"])
def test_a_template_that_draws_by_chance_is_refused(draw):
    with pytest.raises(SubjectError, match="is random"):
        said(with_template(draw + REST))


FAULTS = {
    "a division": "{{ 1 / 0 }}",
    "a sum of text and number": "{{ messages[0]['content'] + 1 }}",
    "a clock that is not there": "{{ now() }}",
    "a missing argument": "{{ strftime_now() }}",
    "no syntax": "{% for %}",
    "an unknown filter": "{{ 1 | never_heard_of }}",
    "a look inside": "{{ messages.__class__.__mro__ }}",
    "a range too far": "{{ range(1000000000) | list }}",
    "itself": "{% macro again() %}{{ again() }}{% endmacro %}{{ again() }}",
}


@pytest.mark.parametrize("fault", FAULTS)
def test_what_a_template_raises_is_told_in_one_sentence(fault):
    with pytest.raises(SubjectError, match="the chat template of 'tiny' ") as refused:
        said(with_template(FAULTS[fault] + REST))
    assert "\n" not in str(refused.value)


def test_of_several_templates_the_default_is_taken_and_without_one_the_model_is_refused():
    assert said(with_template({"default": "d" + REST, "tool_use": "t" + REST})).startswith("d<user>")
    with pytest.raises(SubjectError, match="several chat templates and none is called default"):
        said(with_template({"rag": REST, "tool_use": REST}))


@pytest.fixture
def folder(tmp_path) -> Path:
    language_model("llama3").save_pretrained(tmp_path)
    tokenizer("gpt4", "llama3").save_pretrained(tmp_path)
    return tmp_path


HASHES = {"simulator": prompt_hash, "complexity": complexity_hash}


@pytest.mark.parametrize("part", HASHES)
def test_the_hash_of_a_local_prompt_changes_with_template_and_tokenizer_alone(part, folder):
    first = HASHES[part](f"hf:{folder}")
    assert len(first) == 64
    language_model("llama3", length=4096).save_pretrained(folder)
    assert HASHES[part](f"hf:{folder}") == first
    template = folder / "chat_template.jinja"
    template.write_text(template.read_text().replace("Today", "On this day"))
    second = HASHES[part](f"hf:{folder}")
    tokenizer("gpt2", "llama3").save_pretrained(folder)
    third = HASHES[part](f"hf:{folder}")
    (folder / "chat_template.jinja").unlink()
    assert len({first, second, third, HASHES[part](f"hf:{folder}")}) == 4
    assert prompt_hash(f"hf:{folder}@4bit") == prompt_hash(f"hf:{folder}")
    with pytest.raises(SubjectError, match="there is no folder"):
        HASHES[part](f"hf:{folder}/none")


def test_hashes_of_prompts_differ_by_kind_and_lexical_has_none():
    names = ["echo:local:m", "chat:local:m"]
    assert [prompt_hash("lexical"), complexity_hash("lexical")] == [None, None]
    assert len({*map(prompt_hash, names), complexity_hash("local:m")}) == 3


def test_the_hash_is_the_same_in_every_process(folder):
    program = f"from featureinterp.simulator.registry import prompt_hash; print(prompt_hash('hf:{folder}'))"
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), "PYTHONHASHSEED": "7"}
    ran = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, env=environment)
    assert ran.stdout.split() == [prompt_hash(f"hf:{folder}")]
    assert open_encoder(str(folder), "").has_chat_template
