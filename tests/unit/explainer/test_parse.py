"""Answers as language models give them: which are read, and as what, and which are refused, and why."""

import json
import time

import pytest

from featureinterp.core import Rule
from featureinterp.errors import ExplanationError
from featureinterp.explainer.llm.parse import LONGEST_ANSWER, read_answer

WORDS, OTHERS = Rule("words for growth", 4), Rule("numbers", 2)
RULE, OTHER = ('{"activates_on": "words for growth", "strength": 4}', '{"activates_on": "numbers", "strength": 2}')
LIST = f"[{RULE}, {OTHER}]"


def rules(text, rule_cap=5):
    return list(read_answer(text, structured=True, rule_cap=rule_cap).explanation.rules)


def sentence(text):
    (rule,) = read_answer(text, structured=False, rule_cap=5).explanation.rules
    assert rule.strength == 5
    return rule.activates_on


@pytest.mark.parametrize(
    "text",
    [
        LIST,
        f"Sure! Here are the rules:\n\n{LIST}\n\nI hope this helps.",
        f"```json\n{LIST}\n```",
        f"The feature fires on [ and on {{ sometimes [1].\n{LIST}",
        f"[{RULE},\n {OTHER},]",
        f"[{RULE} // the main one\n, {OTHER} /* less so */]",
        f"[{RULE}\n{OTHER}]",
        LIST.replace('"', "'"),
        LIST.replace("activates_on", "Activates On").replace("strength", "Strength"),
        f'{{"rules": {LIST}}}',
        f'{{"explanation": {LIST}}}',
        f"First I thought of [{OTHER}], but no.\n\nExplanation: {LIST}",
        f"<think>maybe [{OTHER}]?</think>\n{LIST}",
        f"{LIST}\n\nExplanation: both follow from the texts [].",
        f'[{RULE}, {OTHER}, {{"activates_on": "the start of a sent',
        f'[{RULE}, {OTHER}, {{"strength": 3, "activates_on": "cut',
        f'[{RULE}, {OTHER}, {{"activates_on": "no strength yet"',
        f"[{RULE}, {OTHER}",
        f"[{RULE}, {OTHER}, {RULE}]",
    ],
)
def test_rules_are_read_where_the_meaning_is_clear(text):
    assert rules(text) == [WORDS, OTHERS]


@pytest.mark.parametrize(
    ("strength", "read"),
    [
        *[("3", 3), ('"3"', 3), ("3.0", 3), ('"3.0"', 3), ("2.5", 3), ("2.4", 2), ("0", 0)],
        *[('"three"', 3), ('"Five"', 5), ('"4/5"', 4), ('"4 / 5"', 4), ('"4 out of 5"', 4), ('"two out of five"', 2)],
    ],
)
def test_strengths_are_read_in_figures_and_words(strength, read):
    assert rules(f'[{{"activates_on": "numbers", "strength": {strength}}}]') == [Rule("numbers", read)]


@pytest.mark.parametrize(
    "strength", ["7", "-1", '"high"', '"7/10"', "null", "true", "[3]", '""', "NaN", "1e999", '"six"', "5.01"]
)
def test_strengths_off_the_scale_or_vague_are_refused_with_all_that_stands_beside_them(strength):
    with pytest.raises(ExplanationError, match="a strength is .*; expected a number from 0 to 5"):
        rules(f'[{RULE}, {{"activates_on": "numbers", "strength": {strength}}}]')


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "empty"),
        (" \n", "empty"),
        ("<think>still thinking about it", "empty"),
        ("[]", "an empty list"),
        ('{"rules": []}', "an empty list"),
        ("I'm sorry, but I can't help with that.", "no list of rules in the answer: I'm sorry"),
        ("Here is the JSON list: words for growth, strength 4.", "no list of rules"),
        ('["words for growth", "numbers"]', "no list of rules"),
        ('{"words for growth": 4}', "no list of rules"),
        ('[{"激活": "增长的词", "强度": 4}]', "no list of rules"),
        (f'[{RULE}, "numbers"]', "a rule is 'numbers'"),
        (f"[{RULE}, [{OTHER}]]", "a rule is"),
        ('[{"activates_on": "numbers"}]', "has no strength"),
        ('[{"activates_on": "numbers", "strength": 3, "level": 5}]', "has no strength"),
        ('[{"activates_on": "", "strength": 3}]', "a rule is empty"),
        ('[{"activates_on": "...", "strength": 3}]', "a rule is empty"),
        ('[{"activates_on": 12, "strength": 3}]', "a rule is empty"),
        ('[{"activates_on": [], "strength": 3}]', "a rule is empty"),
        ('[{"activates_on": "I cannot tell from these texts", "strength": 1}]', "a rule is empty"),
        ('[{"activates_on": "the first rule that is cut sho', "no list of rules"),
        (json.dumps([{"activates_on": "x" * 501, "strength": 3}]), "501 characters"),
        ("x" * (LONGEST_ANSWER + 1), "the limit is 50000"),
    ],
)
def test_what_is_unclear_is_refused_with_its_reason(text, why):
    with pytest.raises(ExplanationError, match=why):
        rules(text)


def test_of_too_many_rules_the_first_are_taken():
    many = [{"activates_on": f"the word 'w{i}'", "strength": i % 6} for i in range(40)]
    assert [rule.activates_on for rule in rules(json.dumps(many))] == [f"the word 'w{i}'" for i in range(5)]


def test_words_are_kept_as_they_are_but_on_one_line():
    assert rules('[{"activates_on": ["the token \' a\'", "\' b\'"], "strength": 1}]')[0].activates_on == (
        "the token ' a', ' b'"
    )
    assert rules(r'[{"activates_on": "the tokens \'  \', \'\n\', \'\\n\', \'\ud800\', \'“é”\'", "strength": 1}]')[
        0
    ].activates_on == (r"the tokens '  ', '\n', '\n', '" + "\ufffd', '“é”'")
    assert rules('[{"activates_on": "词语", "strength": 1}]')[0].activates_on == "词语"
    assert rules(f'[{{"activates_on": "the word "the" after {{", "strength": 2}}, {OTHER}]')[1] == OTHERS


@pytest.mark.parametrize(
    "text",
    [
        f"Improvement: fewer false alarms\nExplanation: {LIST}",
        f"**Improvement:** fewer false alarms\n\n**Explanation:**\n```json\n{LIST}\n```",
        f"fewer false alarms\n\n{LIST}",
        f'{{"improvement": "fewer false alarms", "rules": {LIST}}}',
        f"## Improvement: fewer\nfalse alarms\n## Explanation: {LIST}",
    ],
)
def test_the_improvement_is_read_with_the_rules(text):
    proposal = read_answer(text, structured=True, rule_cap=5)
    assert proposal.improvement == "fewer false alarms"
    assert list(proposal.explanation.rules) == [WORDS, OTHERS]


@pytest.mark.parametrize(
    "text",
    [
        "words for growth",
        "Explanation: words for growth",
        "**Explanation:** words for growth",
        "Improvement: narrower\n\nExplanation: words\nfor growth\n\nI hope this helps.",
        '"words for growth"',
        "```\nwords for growth\n```",
        '{"explanation": "words for growth"}',
        "Explanation: numbers\n\nNo, better:\n\nRevised explanation: words for growth",
    ],
)
def test_a_sentence_is_read_where_it_is_clear_which_one_is_meant(text):
    assert sentence(text) == "words for growth"


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("Here is what I found.\n\nThe feature fires on growth.", "expected one sentence"),
        (LIST, "expected one sentence"),
        (f"Explanation: {LIST}", "expected one sentence"),
        (f"[{RULE},", "expected one sentence"),
        ("Explanation:", "expected one sentence"),
        ("...", "expected one sentence"),
        ("Explanation: the whole new sentence", "expected one sentence"),
        ("word " * 300, "expected one sentence"),
        ("I’m sorry, I can’t help with that.", "refused"),
        ("Explanation: It is unclear what the feature fires on.", "refused"),
    ],
)
def test_sentences_that_are_none_are_refused(text, why):
    with pytest.raises(ExplanationError, match=why):
        sentence(text)


def test_sentences_may_be_about_brackets_quotes_and_apologies():
    assert sentence("[ and { after a name") == "[ and { after a name"
    assert sentence("an empty list, [] or [[]], after a name") == "an empty list, [] or [[]], after a name"
    assert sentence('"a" or "b"') == '"a" or "b"'
    assert sentence("phrases of apology such as 'I am sorry'") == "phrases of apology such as 'I am sorry'"
    assert sentence("la négation « ne … pas »") == "la négation « ne … pas »"


def test_an_improvement_may_stand_before_the_sentence():
    assert read_answer("Improvement: narrower\nExplanation: growth", structured=False, rule_cap=1).improvement == (
        "narrower"
    )


@pytest.mark.parametrize(
    "piece",
    ["[", "{", '"', "[{'", '{"a', "[]", "{}", "[{}", '{"activates_on": ', '[{"activates_on": "a" ', "[//", "(("],
)
def test_hostile_answers_take_no_longer_than_others(piece):
    started = time.process_time()
    with pytest.raises(ExplanationError):
        rules(piece * (LONGEST_ANSWER // len(piece)))
    assert time.process_time() - started < 5
