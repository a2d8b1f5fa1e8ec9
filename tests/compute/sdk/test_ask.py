"""The short commands and the questions of the SDK: what they ask, how they show it, how Ctrl-C ends a job."""

from __future__ import annotations

import json
from io import StringIO
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from click.testing import CliRunner
from rich.console import Console

from compute.cli import main
from compute.cli.session import Session
from compute.cli.show import table
from compute.cli.watch import Watch, duration, pace, watched
from compute.errors import BadInput
from compute.sdk import questions
from compute.sdk.errors import JobEnded
from compute.sdk.jobs import JobResult
from compute.sdk.objects import Dataset, Job, Offer, Part, PartyRef, TimelineEvent
from compute.sdk.questions import Question

JOB = "0x" + "ab" * 32
ROWS = {"columns": ["patient_id", "diagnosis"], "rows": [["p1", "M"], ["p2", "B"]]}


def job(state: str = "settled") -> Job:
    return Job(job=JOB, kind="psi", state=state)


class Desk:
    """A client that answers without a market, and keeps what it was asked."""

    def __init__(self, value: Any, *, interrupt: bool = False) -> None:
        self.value, self.interrupt = value, interrupt
        self.asked: list[tuple[Question, dict[str, Any]]] = []
        self.waited: list[str] = []
        self.jobs = SimpleNamespace(wait=self._wait, result=lambda job: self._result())

    def __enter__(self) -> Desk:
        return self

    def __exit__(self, *unused: object) -> None:
        return None

    def ask(self, question: Question, *, on_status: Any, on_progress: Any, **options: Any) -> JobResult:
        self.asked.append((question, options))
        on_progress(TimelineEvent(id=1, role="left", phase="psi.blind", done=1, total=2))
        on_status(job("running"))
        if self.interrupt:
            raise KeyboardInterrupt
        return self._result()

    def _result(self) -> JobResult:
        return JobResult(JOB, "settled", self.value, job())

    def _wait(self, name: str, **unused: Any) -> Job:
        self.waited.append(name)
        return job("cancelled")


@pytest.fixture
def desk(monkeypatch: pytest.MonkeyPatch) -> Any:
    def sit(value: Any, **options: Any) -> Desk:
        made = Desk(value, **options)
        monkeypatch.setattr(Session, "client", lambda session: made)
        return made

    return sit


def run(*arguments: str, **options: Any) -> Any:
    return CliRunner().invoke(main, list(arguments), **options)


# ---- questions


def test_an_intersection_names_the_keys_of_both_sides() -> None:
    asked = questions.intersection("g1", "g2", on={"left": "pid", "right": ["id", "year"]}, protocol="rr22")
    assert asked == Question(
        "psi",
        {"left": "g1", "right": "g2"},
        {"keys": {"left": ["pid"], "right": ["id", "year"]}, "protocol": "rr22"},
    )
    assert questions.intersection("a", "b", on="pid").params["keys"] == {"left": ["pid"], "right": ["pid"]}
    with pytest.raises(BadInput, match="both sides"):
        questions.intersection("a", "b", on={"left": "pid"})


def test_a_lookup_and_a_membership_take_texts_or_parts() -> None:
    asked = questions.lookup("g", ["p1", ["p", "2"]], key=["a", "b"], columns="d", pad_queries_to=[4])
    assert asked.kind == "pir.keyword"
    assert asked.params == {
        "key": ["a", "b"],
        "keywords": [["p1"], ["p", "2"]],
        "columns": ["d"],
        "pad_queries_to": [4],
    }
    assert questions.membership("g", ["p1"], key="a").params == {"key": ["a"], "keywords": [["p1"]]}
    with pytest.raises(BadInput, match="list of keywords"):
        questions.lookup("g", "p1", key="a", columns="d")


def test_a_question_does_not_show_what_is_looked_for() -> None:
    assert "secret" not in repr(questions.membership("g", ["secret"], key="a"))


# ---- commands


def test_psi_shows_count_protocol_and_rows(desk: Any) -> None:
    client = desk({"count": 2, "protocol": {"name": "rr22", "reason": "many keys"}, "left": ROWS})
    done = run(
        *("psi", "--left", "g1", "--right", "g2", "--key", "patient_id", "--add", "left=diagnosis"),
        *("--set", "security=malicious", "--max-elements", "50", "--set", "normalise.case=fold"),
    )
    assert done.exit_code == 0, done.stderr
    (question, options), = client.asked  # fmt: skip
    assert options == {"purpose": None, "deadline_s": 600}
    assert question.params == {
        "keys": {"left": ["patient_id"], "right": ["patient_id"]},
        "max_elements": 50,
        "output_columns": {"left": ["diagnosis"]},
        "security": "malicious",
        "normalise": {"case": "fold"},
    }
    assert "count 2" in done.stdout
    assert "reason: many keys" in done.stdout
    assert "p1" in done.stdout
    assert "psi.blind" in done.stderr


def test_psi_writes_its_rows_to_a_file_of_the_named_kind(desk: Any, tmp_path: Path) -> None:
    import pyarrow.parquet as pq

    desk({"count": 2, "left": ROWS, "right": None})
    common = ("psi", "--left", "g1", "--right", "g2", "--key", "patient_id", "--out")
    assert run(*common, str(tmp_path / "found.csv")).exit_code == 0
    assert (tmp_path / "found.csv").read_text().splitlines()[1:] == ['"p1","M"', '"p2","B"']
    done = run(*common, str(tmp_path / "found.parquet"), "--column", "diagnosis", "--json")
    assert json.loads(done.stdout)["rows"] == 2
    assert pq.read_table(tmp_path / "found.parquet").to_pydict() == {"diagnosis": ["M", "B"]}
    assert run(*common, str(tmp_path / "found.json")).exit_code == 0
    assert json.loads((tmp_path / "found.json").read_text())["count"] == 2


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (["--out", "found.xyz"], [".json", ".csv", ".parquet", "--format"]),
        (["--out", "found"], [".json", ".csv", ".parquet", "--format"]),
        (["--out", "found.json", "--column", "d"], ["--column", "parquet"]),
        (["--format", "csv"], ["--out"]),
        (["--out", "nowhere/found.csv"], ["--out", "folder nowhere"]),
    ],
    ids=["a strange ending", "no ending", "columns of json", "no file", "no folder"],
)
def test_a_file_that_cannot_be_written_is_told_before_a_job_is_ordered(
    desk: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], told: list[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    client = desk({"count": 2, "left": ROWS})
    done = run("psi", "--left", "g1", "--right", "g2", "--key", "patient_id", *options)
    assert done.exit_code == 2
    assert all(word in done.stderr for word in told), done.stderr
    assert not client.asked
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("options", [[], ["--part", "middle"]], ids=["no part named", "no such part"])
def test_a_slip_that_shows_after_the_job_says_where_its_result_is(
    desk: Any, tmp_path: Path, options: list[str]
) -> None:
    desk({"count": 2, "left": ROWS, "right": ROWS})
    out = tmp_path / "found.csv"
    done = run("psi", "--left", "g1", "--right", "g2", "--key", "patient_id", "--out", str(out), *options)
    assert done.exit_code == 2
    assert "left, right" in done.stderr
    assert f"liutong jobs result {JOB} --out" in done.stderr
    assert not out.exists()


def test_a_named_format_and_an_ending_in_capitals_write_the_file(desk: Any, tmp_path: Path) -> None:
    desk({"count": 2, "left": ROWS})
    common = ("psi", "--left", "g1", "--right", "g2", "--key", "patient_id", "--out")
    assert run(*common, str(tmp_path / "found.xyz"), "--format", "csv").exit_code == 0
    assert run(*common, str(tmp_path / "found.CSV")).exit_code == 0
    assert (tmp_path / "found.xyz").read_text() == (tmp_path / "found.CSV").read_text()


def test_too_small_a_quota_names_the_option_that_helps(desk: Any) -> None:
    client = desk(None)
    refused = JobEnded("the job was refused", job=JOB, state="refused", rule="quota", remedy="ask for fewer")

    def refuse(*unused: Any, **options: Any) -> None:
        raise refused

    client.ask = refuse  # type: ignore[method-assign]
    done = run("psi", "--left", "g1", "--right", "g2", "--key", "id", "--max-elements", "100000")
    assert done.exit_code == 1
    assert "--max-elements" in done.stderr
    done = run("member", "p1", "--grant", "g", "--key", "id")
    assert "ask for fewer" in done.stderr
    assert "--max-elements" not in done.stderr


def test_datasets_and_offers_show_columns_with_their_types(desk: Any) -> None:
    client = desk(None)
    provider = PartyRef(party="0x" + "22" * 32, name="Hospital")
    published = [{"name": "patient_id", "type": "string"}, {"name": "age", "type": "integer", "grade": "L2"}]
    listed = Dataset(
        dataset="0x" + "33" * 32, provider=provider, name="Cells", kind="table", state="active",
        columns=published,
    )  # fmt: skip
    offered = Offer(id="7", dataset=listed.dataset, provider=provider, title="t", columns=["age"])
    client.datasets = lambda *unused, **options: [listed]  # type: ignore[attr-defined]
    client.offers = lambda *unused, **options: [offered]  # type: ignore[attr-defined]
    shown = " ".join(run("datasets").stdout.split())
    assert "patient_id string" in shown
    assert "age integer" in shown
    shown = " ".join(run("offers").stdout.split())
    assert "age integer" in shown
    assert "patient_id" not in shown
    assert json.loads(run("offers", "--json").stdout)[0]["columns"] == ["age"]


def test_a_narrow_table_cuts_nothing_off() -> None:
    said = Console(width=40, file=StringIO())
    said.print(table(("id", "purpose", "columns"), [("7" * 20, "p " * 40, "z" * 60)]))
    assert said.file.getvalue().count("z") == 60  # type: ignore[attr-defined]


def test_lookup_reads_keywords_from_arguments_files_and_input(desk: Any, tmp_path: Path) -> None:
    client = desk({"answers": [{"found": True, "records": [{"d": 1}]}] * 4})
    (tmp_path / "more").write_text("p3\n\np4\n")
    done = run("lookup", "p1", "-", f"@{tmp_path / 'more'}", "--grant", "g", "--key", "pid", "--give", "d",
               "--json", input="p2\n")  # fmt: skip
    assert done.exit_code == 0, done.stderr
    assert client.asked[0][0].params["keywords"] == [["p1"], ["p2"], ["p3"], ["p4"]]
    assert json.loads(done.stdout)["value"]["answers"][0]["records"] == [{"d": 1}]


def test_member_says_yes_or_no_beside_each_keyword(desk: Any) -> None:
    client = desk({"answers": [True, False]})
    arguments = ("member", "UA,15", "UA,16", "--grant", "g", "--key", "carrier", "--key", "flight")
    done = run(*arguments, "--json")
    assert client.asked[0][0].params["keywords"] == [["UA", "15"], ["UA", "16"]]
    assert [row["found"] for row in json.loads(done.stdout)["value"]] == [True, False]
    assert "UA, 16   no" in run(*arguments).stdout


def test_the_result_of_a_membership_is_shown_and_written_like_any_other(desk: Any, tmp_path: Path) -> None:
    desk({"answers": [True, False]})
    assert "answers: 2 rows" in run("jobs", "result", JOB).stdout
    assert run("jobs", "result", JOB, "--out", str(tmp_path / "found.csv")).exit_code == 0
    assert (tmp_path / "found.csv").read_text().splitlines()[1:] == ["1,true", "2,false"]


@pytest.mark.parametrize(
    "arguments",
    [
        ("psi", "--left", "a", "--right", "b"),
        ("psi", "--left", "a", "--right", "b", "--key", "k", "--add", "left"),
        ("psi", "--left", "a", "--right", "b", "--key", "k", "--set", "x"),
        ("psi", "--left", "a", "--right", "b", "--key", "k", "--set", "a=1", "--set", "a.b=1"),
        ("psi", "--left", "a", "--right", "b", "--key", "k", "--format", "csv"),
        ("lookup", "p,1", "--grant", "g", "--key", "a", "--key", "b", "--key", "c", "--give", "d"),
        ("lookup", "@/nowhere/at/all", "--grant", "g", "--key", "a", "--give", "d"),
        ("member", "-", "--grant", "g", "--key", "a"),
    ],
)
def test_what_does_not_fit_is_never_asked(desk: Any, arguments: tuple[str, ...]) -> None:
    client = desk({})
    assert run(*arguments, input="").exit_code == 2
    assert not client.asked


def test_an_interrupt_waits_for_the_end_of_the_job_and_says_so(desk: Any) -> None:
    client = desk({}, interrupt=True)
    done = run("psi", "--left", "g1", "--right", "g2", "--key", "k")
    assert done.exit_code == 130
    assert client.waited == [JOB]
    assert "asked to stop" in done.stderr
    assert "cancelled" in done.stderr


def test_an_interrupt_before_anything_was_seen_says_that(monkeypatch: pytest.MonkeyPatch) -> None:
    def act(watch: Watch) -> JobResult:
        raise KeyboardInterrupt

    with pytest.raises(SystemExit) as ended:
        watched(session(), Desk({}), act)  # type: ignore[arg-type]
    assert ended.value.code == 130


# ---- bars


def session(*, terminal: bool = False) -> Session:
    from io import StringIO

    from rich.console import Console

    names = ("url", "api_key_file", "key_file", "passphrase_file", "workspace", "chain_rpc", "address_book")
    made = Session({**dict.fromkeys(names), "as_json": False})
    made.err = Console(file=StringIO(), force_terminal=terminal, width=120)
    return made


def test_bars_show_rate_and_time_left_of_each_party() -> None:
    here = session(terminal=True)
    part = Part(role="left", party=PartyRef(party="0x1"), state="running", grant="g", phase="psi.blind",
                done=30_000, total=100_000, rate_milli=12_000_000, seconds_left=95)  # fmt: skip
    with Watch(here) as watch:
        watch.status(Job(job=JOB, kind="psi", state="running", parts=[part]))
        watch.event(TimelineEvent(id=0, role="client", phase="pir.query", done=1, total=4))
        watch._progress.refresh()
    shown = here.err.file.getvalue()  # type: ignore[attr-defined]
    assert "30,000 of 100,000" in shown
    assert "12,000 a second, 1 min 35 s left" in shown
    assert "client  pir.query" in shown
    assert watch.job == JOB


@pytest.mark.parametrize(
    ("rate", "left", "told"),
    [(None, None, ""), (0, 5, "5 s left"), (1_500, None, "1.5 a second"),
     (2_000_000, 7_500, "2,000 a second, 2 h 5 min left")],
)  # fmt: skip
def test_pace_in_words(rate: int | None, left: int | None, told: str) -> None:
    assert pace(rate, left) == told


def test_durations_have_two_units_at_most() -> None:
    assert [duration(seconds) for seconds in (0, 59, 61, 3_600)] == ["0 s", "59 s", "1 min 1 s", "1 h 0 min"]


def test_kinds_are_listed_with_an_example() -> None:
    listed = json.loads(run("jobs", "kinds", "--json").stdout)
    assert {"psi", "pir.keyword", "pir.member", "eaas"} <= {item["name"] for item in listed}
    assert json.loads(run("jobs", "kinds", "psi", "--json").stdout)["example"]["keys"]


def test_params_may_be_a_file(tmp_path: Path) -> None:
    from compute.cli.jobs import _json

    file = tmp_path / "params.json"
    file.write_text('{"value": "age"}')
    assert _json(str(file)) == _json("@" + str(file)) == _json('{"value": "age"}') == {"value": "age"}
    with pytest.raises(BadInput):
        _json(str(tmp_path / "nothing.json"))
