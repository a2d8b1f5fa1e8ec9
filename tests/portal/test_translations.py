"""The portal speaks Chinese completely: nothing untranslated, nothing fuzzy, nothing forgotten."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from babel.messages.pofile import read_po
from django.test import Client
from django.utils import translation
from django.utils.translation import templatize

from accel.errors import DeviceOutOfMemory, InvalidPoint
from compute.errors import (
    BadInput,
    BadMessage,
    CancelledElsewhere,
    CohortTooSmall,
    DataError,
    DiskFull,
    JobCancelled,
    PeerLost,
    ProtocolAbort,
    Refused,
)
from compute.node.meter import MeterExceeded
from compute.node.running import NodeStopped, ending_of
from compute.protocols.executors import ExecutorFailed
from market.portal import words
from tests.portal.world import World

MARKET = Path(words.__file__).resolve().parents[1]


@pytest.fixture(scope="module")
def catalogue(frontend: Path) -> dict[str, str]:
    """msgid → Chinese; plural forms are one in Chinese."""
    with (frontend / "locale/zh_Hans/LC_MESSAGES/django.po").open("rb") as file:
        messages = read_po(file, locale="zh_Hans", abort_invalid=True)
    found: dict[str, str] = {}
    for message in messages:
        if not message.id:
            continue
        key = message.id if isinstance(message.id, str) else message.id[0]
        text = message.string if isinstance(message.string, str) else message.string[0]
        assert not message.fuzzy, f"fuzzy: {key}"
        assert text, f"untranslated: {key}"
        found[_key(message.context or "", key)] = text
    return found


def _key(context: str, message: str) -> str:
    """As gettext writes it: the context, end of transmission, the message."""
    return f"{context}\x04{message}" if context else message


def test_every_placeholder_survives_translation(catalogue: dict[str, str]) -> None:
    for message, text in catalogue.items():
        pattern = r"%\(\w+\)[sd]|{\w+}"
        # A singular may leave its number out; Chinese has one form that shows it.
        missing = set(re.findall(pattern, message)) - set(re.findall(pattern, text))
        extra = set(re.findall(pattern, text)) - set(re.findall(pattern, message))
        assert not missing, message
        assert not extra, message


def test_every_marked_string_is_in_the_catalogue(frontend: Path, catalogue: dict[str, str]) -> None:
    asked: set[str] = set()
    for template in (frontend / "templates").rglob("*.html"):
        code = templatize(template.read_text())
        asked |= set(re.findall(r"""(?<!\w)(?:n?gettext|_)\(u?'((?:[^'\\]|\\.)*)'""", code))
        asked |= set(re.findall(r"""(?<!\w)(?:n?gettext|_)\(u?"((?:[^"\\]|\\.)*)\"""", code))
    for module in (MARKET / "portal").rglob("*.py"):
        asked |= _marked(module.read_text())
    unescaped = {text.replace("\\'", "'").replace('\\"', '"').replace("\\n", "\n") for text in asked}
    assert unescaped - set(catalogue) == set()


def _marked(source: str) -> set[str]:
    import ast

    found: set[str] = set()
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name):
            name, texts = node.func.id, [a.value for a in node.args if isinstance(a, ast.Constant)]
            if name in {"_", "gettext", "gettext_lazy"}:
                found |= {str(text) for text in texts[:1]}
            elif name in {"pgettext", "pgettext_lazy"}:
                found |= {_key(str(texts[0]), str(texts[1]))}
    return found


@pytest.mark.parametrize(
    "table",
    [words.OPERATIONS, words.KINDS, words.PARTY_ROLES, words.PHASES, words.ERRORS, words.RULES, words.VERBS,
     words.CHAIN_EVENTS, words.METRICS, words.PURPOSES, words.JOB_ROLES, words.GRADES, words.UNITS],
)  # fmt: skip
def test_every_word_of_the_house_is_chinese_in_chinese(table: dict[str, words.Word]) -> None:
    with translation.override("zh-hans"):
        for code, word in table.items():
            assert re.search(r"[\u4e00-\u9fff]", str(word)), code


def test_states_of_every_model_have_a_word() -> None:
    from market.catalog.models import Dataset, Offer
    from market.grants.models import Grant
    from market.jobs.models import Job
    from market.ledger.models import Batch, ChainTransaction, Receipt, Reservation
    from market.parties.models import Party

    for model in (Dataset, Offer, Grant, Job, Batch, ChainTransaction, Receipt, Reservation, Party):
        assert set(model.State.values) <= set(words.STATES), model.__name__


@pytest.mark.parametrize(
    ("path", "told"),
    [
        ("/", "总览"),
        ("/catalogue/", "目录"),
        ("/grants/", "授权"),
        ("/jobs/", "作业"),
        ("/receipts/", "回执"),
    ],
)
def test_pages_come_in_chinese_when_asked(sign_in: Callable[..., Client], path: str, told: str) -> None:
    client = sign_in("bob")
    answer = client.get(path, headers={"accept-language": "zh-CN,zh;q=0.9"})
    assert 'lang="zh-Hans"' in answer.content.decode()
    assert told in answer.content.decode()
    assert "医学研究院" in answer.content.decode()


def test_language_switch_is_remembered(sign_in: Callable[..., Client]) -> None:
    client = sign_in("bob")
    answer = client.post("/i18n/setlang/", {"language": "zh-hans", "next": "/jobs/"}, follow=True)
    assert "作业" in answer.content.decode()
    assert "作业" in client.get("/jobs/").content.decode()


def test_a_grant_reads_as_one_sentence_in_both_languages(world: World) -> None:
    from market.portal.sentences import grant_sentence

    with translation.override("en"):
        english = re.sub("<[^>]+>", "", grant_sentence(world.active))
    assert english.startswith(
        "Research Institute may run PSI, joint statistics and federated learning on Breast biopsies, East, "
    )
    with translation.override("zh-hans"):
        chinese = re.sub("<[^>]+>", "", grant_sentence(world.active))
    assert chinese.startswith(
        "医学研究院可以对Breast biopsies, East进行安全求交、联合统计和联邦学习，使用列 patient"
    )


@pytest.mark.parametrize(
    "cause",
    [
        CohortTooSmall(""), DataError(""), DiskFull(""), BadInput(""), ProtocolAbort(""), PeerLost(""),
        JobCancelled(""), CancelledElsewhere(""), Refused("a", "b"), ExecutorFailed(""), NodeStopped(""),
        MeterExceeded(""), BadMessage(""), TimeoutError(), MemoryError(), DeviceOutOfMemory(""),
        InvalidPoint(""), RuntimeError(),
    ],
    ids=lambda cause: type(cause).__name__,
)  # fmt: skip
def test_every_reason_that_a_receipt_may_give_has_words(cause: Exception) -> None:
    reason = ending_of("0x00", cause).reason
    with translation.override("zh-hans"):
        assert re.search(r"[\u4e00-\u9fff]", words.error(reason)), reason


def test_every_phase_that_protocols_report_has_words() -> None:
    told: set[str] = set()
    for module in (MARKET.parent / "compute" / "protocols").rglob("*.py"):
        for call in ast.walk(ast.parse(module.read_text())):
            # Arrays that cross in blocks report their phase themselves.
            if isinstance(call, ast.Call) and re.search(
                r"Progress|_?(send|receive)_\w+$", ast.unparse(call.func)
            ):
                texts = [part.value for part in call.args if isinstance(part, ast.Constant)]
                told |= {text for text in texts if re.fullmatch(r"[a-z]+\.[a-z_]+", str(text))}
    assert {"psi.bucket", "psi.result", "pir.hint", "fl.round"} <= told
    assert told <= set(words.PHASES)


@pytest.mark.parametrize(
    ("language", "said"), [("en", "A step of its own (psi.newer)"), ("zh-hans", "自有步骤（psi.newer）")]
)
def test_a_phase_of_a_newer_node_has_words_too(language: str, said: str) -> None:
    with translation.override(language):
        assert words.phase("psi.newer") == said
        assert words.phase("psi.blind") != words.phase("psi.newer")


def test_protocols_of_receipts_have_the_numbers_that_nodes_use() -> None:
    from compute.protocols.psi.choice import CODES

    assert {code: name.lower() for code, name in words.PROTOCOLS.items()} == {
        code: name for name, code in CODES.items()
    }
    assert words.metric_value("protocol", 2) == "RR22"
    assert words.metric_value("elements", 12345) == "12,345"
