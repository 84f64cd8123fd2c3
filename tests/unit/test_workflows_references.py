"""What workflows, steps and segments name of one another, over a whole project."""

from pathlib import Path

import pytest
from workflow_files import load_files, messages, workflow

from journey_pipelines.expressions.durations import Duration
from journey_pipelines.workflows.load import Project
from journey_pipelines.workflows.segments import Segment, SegmentTable

SEGMENTS = {
    "segments/vip.yaml": "segment: vip\nname: Important people\ndescription: They buy.\nwhen: customer.lifetime_value > 500\n",
    "segments/press.yaml": "segment: press\nstatic: true\n",
    "segments/partners.yaml": "segment: partners\nfrom: {table: analytics.partners, column: person, every: 2 hours}\n",
    "segments/few.yaml": "segment: few\nfrom: {table: analytics.few}\n",
}


def _load(root: Path, steps: str = "", head: str = "", triggers: str = "  - event: x\n", **files: str) -> Project:
    text = workflow(steps or "  - id: only\n    wait: 1 day\n", head=head, triggers=triggers)
    named = {name.replace("__", "/").replace("_dot_", "."): body for name, body in files.items()}
    return load_files(root, {"hello/workflow.yaml": text, **named})


def _refused(root: Path, *given: str, **files: str) -> list[str]:
    return messages(_load(root, *given, **files))


def _do(action: str, way_on: str = "") -> str:
    return f"  - id: only\n    do:\n      - {action}\n{way_on}"


# -- segments --------------------------------------------------------------------------------------------------------


def test_segments_of_every_kind(tmp_path: Path) -> None:
    project = load_files(tmp_path, SEGMENTS)
    assert messages(project) == []
    assert project.segments == {
        "vip": Segment(id="vip", name="Important people", description="They buy.", when="customer.lifetime_value > 500"),
        "press": Segment(id="press", name="Press"),
        "partners": Segment(
            id="partners", name="Partners", table=SegmentTable(table="analytics.partners", column="person", every=Duration.parse("2 hours"))
        ),
        "few": Segment(id="few", name="Few", table=SegmentTable(table="analytics.few", every=Duration.parse("15 minutes"))),
    }
    assert [segment.id for segment in project.segments.values() if segment.is_static] == ["press"]


def test_without_a_folder_any_id_is_a_static_segment(tmp_path: Path) -> None:
    project = _load(
        tmp_path, _do("add_to_segment: anything"), "exit: [{segment: whatever}]\n", "  - segment: some\n    when: in_segment('x')\n"
    )
    assert messages(project) == []
    assert project.segments == {}


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("segment: vip\n",
         "1: segment vip: expected one of `when: EXPRESSION`, `static: true` or `from: {table: ...}`, got none of them; write one"),
        ("segment: vip\nstatic: true\nwhen: now > 3\n", "got when and static; keep one"),
        ("segment: vip\nstatic: false\n", "2: segment vip: 'static' expected true, got false; write `when` or `from` instead"),
        ("segment: vips\nstatic: true\n", "1: segment: the id is 'vips' and the file vip.yaml; give both one name"),
        ("name: VIP\nstatic: true\n", "1: segment: 'segment' is missing; write `segment: vip`"),
        ("segment: vip\nstatic: true\nwen: true\n", "3: segment: unknown key 'wen'. Did you mean 'when'? Allowed here: segment, name"),
        ("segment: vip\nwhen: event.total > 3\n", "2: segment vip: 'when': 'event' is not known in a condition about customers"),
        ("segment: vip\nwhen: arrived\n", "'arrived' is not known in a condition about customers"),
        ("segment: vip\nwhen: journey.visit > 3\n", "'journey' is not known in a condition about customers"),
        ("segment: vip\nwhen: opened('only')\n", "opened() asks about messages of a journey, and there is none in a condition"),
        ("segment: vip\nwhen: in_segment('vip')\n", "2: segment vip: 'when' asks about itself; take in_segment('vip') out"),
        ("segment: vip\nwhen: in_segment('pres')\n", "unknown segment 'pres'. Did you mean 'press'?"),
        ("segment: vip\nwhen: in_workflow('hallo')\n", "in_workflow('hallo'): there is no workflow 'hallo'. Did you mean 'hello'?"),
        ("segment: vip\nwhen: customer.country = 'CH'\n", "Equality is written =="),
        ("segment: vip\nwhen: brand.nme == 'x'\n", "policies.yaml has no brand.nme."),
        ("segment: vip\nfrom: analytics.vips\n", "segment vip: 'from' expected a mapping, got 'analytics.vips'"),
        ("segment: vip\nfrom: {table: vips}\n", "segment vip: from: 'table' expected the name of a table with its schema, such as"),
        ("segment: vip\nfrom: {column: x}\n", "segment vip: from: 'table' is missing"),
        ("segment: vip\nfrom: {table: a.vips, column: 'a b'}\n", "segment vip: from: 'column' expected the name of a column, got 'a b'"),
        ("segment: vip\nfrom: {table: a.vips, every: 5 seconds}\n", "'every' expected 1 minute or more, got '5 seconds'"),
        ("segment: vip\nfrom: {table: a.vips, evry: 5 minutes}\n", "segment vip: from: unknown key 'evry'. Did you mean 'every'?"),
        ("- vip\n", "segment: expected a mapping with segment, name"),
    ],
)  # fmt: skip
def test_wrong_segments_say_why(tmp_path: Path, text: str, said: str) -> None:
    found = _refused(tmp_path, segments__vip_dot_yaml=text, segments__press_dot_yaml=SEGMENTS["segments/press.yaml"])
    assert len(found) == 1, found
    assert said in found[0]


def test_a_circle_of_segments_is_said_once_and_the_others_stay(tmp_path: Path) -> None:
    project = _load(
        tmp_path,
        segments__a_dot_yaml="segment: a\nwhen: in_segment('b') or in_segment('d')\n",
        segments__b_dot_yaml="segment: b\nwhen: not in_segment('c')\n",
        segments__c_dot_yaml="segment: c\nwhen: in_segment('a')\n",
        segments__d_dot_yaml="segment: d\nwhen: customer.country == 'CH'\n",
    )
    assert messages(project) == ["2: segment c: 'when' goes round in a circle (a -> b -> c -> a); take in_segment('a') out"]
    assert list(project.segments) == ["d"]


def test_many_nested_segments_are_checked_in_no_time(tmp_path: Path) -> None:
    files = {}
    for number in range(60):
        below = " or ".join(f"in_segment('s{other}')" for other in range(max(0, number - 3), number)) or "true"
        files[f"segments/s{number}.yaml"] = f"segment: s{number}\nwhen: {below}\n"
    assert len(load_files(tmp_path, files).segments) == 60


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ((_do("add_to_segment: prss"),), "7: step only: add_to_segment: 'segment': there is no segments/prss.yaml. Did you mean 'press'?"),
        ((_do("add_to_segment: vip"),), "its `when` says who is in 'vip', so no step can change it; name a `static: true` one"),
        ((_do("remove_from_segment: partners"),), "analytics.partners says who is in 'partners', so no step can change it"),
        (("", "exit: [{segment: vips}]\n"), "exit: 'segment': there is no segments/vips.yaml. Did you mean 'vip'?"),
        (("", "goal: {segment: vips}\n"), "goal: 'segment': there is no segments/vips.yaml"),
        (("", "", "  - segment: vips\n"), "trigger: 'segment': there is no segments/vips.yaml"),
        (("", "entry: {when: in_segment('vips')}\n"), "unknown segment 'vips'. Did you mean 'vip'?"),
    ],
)
def test_with_a_folder_segments_have_to_be_declared(tmp_path: Path, given: tuple[str, ...], said: str) -> None:
    files = {name.replace("/", "__").replace(".", "_dot_"): text for name, text in SEGMENTS.items()}
    found = _refused(tmp_path, *given, **files)
    assert len(found) == 1, found
    assert said in found[0]


def test_declared_segments_are_named_freely(tmp_path: Path) -> None:
    files = {name.replace("/", "__").replace(".", "_dot_"): text for name, text in SEGMENTS.items()}
    head = "entry: {when: in_segment('partners'), existing: enter}\ngoal: {segment: vip}\nexit: [goal, {segment: few, on: leave}]\n"
    assert _refused(tmp_path, _do("add_to_segment: press"), head, "  - segment: vip\n", **files) == []


def test_a_segment_with_a_fault_is_there_all_the_same(tmp_path: Path) -> None:
    found = _refused(tmp_path, _do("add_to_segment: vip"), segments__vip_dot_yaml="segment: vip\nwhen: customer.country = 'CH'\n")
    assert len(found) == 1
    assert "Equality" in found[0]


def test_files_that_nothing_reads_are_not_silent(tmp_path: Path) -> None:
    (tmp_path / "segments" / "deep").mkdir(parents=True)
    found = load_files(tmp_path, {"segments/vip.yml": "segment: vip\nstatic: true\n"}).errors
    assert [(problem.file.name, problem.message) for problem in found] == [
        (name, "unknown file; expected a file a segment, such as segments/vip.yaml") for name in ("deep", "vip.yml")
    ]


def test_a_segment_that_time_changes_at_no_known_instant_is_warned_of(tmp_path: Path) -> None:
    project = load_files(tmp_path, {"segments/early.yaml": "segment: early\nwhen: local_hour() * 2 == 18\n"})
    [warning] = project.warnings
    assert str(warning) == (
        f"{tmp_path}/segments/early.yaml:2:7: warning: segment early: 'when': can change by time alone, "
        "at instants that cannot be computed: it is asked every quarter of an hour for everybody, which costs time; "
        "where you can, write it as days_since(TIME) > NUMBER"
    )


# -- workflows -------------------------------------------------------------------------------------------------------

OTHER = "workflow: other\nstatus: STATUS\ntriggers:\n  - event: y\nsteps:\n  - id: only\n    wait: 1 day\n"


@pytest.mark.parametrize(
    "action", ["start_workflow: other", "exit_workflow: {id: out, workflow: other}", "start_workflow: {workflow: other, payload: {a: 1}}"]
)
def test_other_workflows_are_started_and_left(tmp_path: Path, action: str) -> None:
    project = _load(tmp_path, _do(action), other__workflow_dot_yaml=OTHER.replace("STATUS", "active"))
    assert messages(project) == []
    loaded = project.workflow("hello")
    assert loaded is not None
    [(_, found)] = loaded.workflow.actions()
    assert found.params == ({"workflow": "other", "payload": {"a": 1}} if "payload" in action else {"workflow": "other"})


@pytest.mark.parametrize(
    ("action", "said"),
    [
        ("start_workflow: othr", "7: step only: start_workflow: there is no workflow 'othr'. Did you mean 'other'?"),
        ("exit_workflow: othr", "7: step only: exit_workflow: there is no workflow 'othr'. Did you mean 'other'?"),
        (
            "create_task: {title: Call, when: in_workflow('othr')}",
            "in_workflow('othr'): there is no workflow 'othr'. Did you mean 'other'?",
        ),
        ("create_task: {title: \"{{ in_workflow('othr') }}\"}", "in_workflow('othr'): there is no workflow 'othr'"),
    ],
)
def test_a_workflow_that_is_not_there_is_refused(tmp_path: Path, action: str, said: str) -> None:
    [found] = _refused(tmp_path, _do(action), other__workflow_dot_yaml=OTHER.replace("STATUS", "active"))
    assert said in found


@pytest.mark.parametrize(
    ("action", "status", "warning"),
    [
        ("start_workflow: other", "archived", "start_workflow: workflow 'other' is archived, so nobody enters it"),
        ("start_workflow: other", "draft", "start_workflow: workflow 'other' is draft, so nobody enters it"),
        ("exit_workflow: hello", "active", "exit_workflow: ends this very journey; write `next: end`, or an `exit`"),
    ],
)
def test_a_workflow_that_does_not_work_is_warned_of(tmp_path: Path, action: str, status: str, warning: str) -> None:
    project = _load(tmp_path, _do(action), other__workflow_dot_yaml=OTHER.replace("STATUS", status))
    assert not project.errors
    assert any(warning in problem.message for problem in project.warnings)


def test_a_workflow_with_a_fault_is_there_all_the_same(tmp_path: Path) -> None:
    project = _load(tmp_path, _do("start_workflow: other"), other__workflow_dot_yaml="workflow: other\nsteps: [\n")
    assert [problem.file.parent.name for problem in project.errors] == ["other"]
    assert project.workflow("hello") is not None


# -- events that a step writes ---------------------------------------------------------------------------------------


def test_an_event_is_written_with_a_payload_of_texts_and_values(tmp_path: Path) -> None:
    project = _load(
        tmp_path, _do("emit_event: {type: cart_saved, payload: {id: '{{ event.cart_id }}', n: 3, deep: {a: [1, '{{ now }}']}}}")
    )
    assert messages(project) == []
    loaded = project.workflow("hello")
    assert loaded is not None
    [(_, found)] = loaded.workflow.actions()
    assert found.params == {"type": "cart_saved", "payload": {"id": "{{ event.cart_id }}", "n": 3, "deep": {"a": [1, "{{ now }}"]}}}


# -- results of steps ------------------------------------------------------------------------------------------------

SCORE = """\
  - id: score
    do:
      - webhook_call: {url: "https://crm.example.org/score"}
  - id: call
    wait: {for: webhook.answered, when: arrived.step == 'score' and steps.score.status == 200, timeout: 1 day}
    do:
      - create_task: {title: "Grade {{ steps.score.response.grade | default('?') }}", when: steps.score.response.grade == 'A'}
  - id: done
    wait: {for: task.done, timeout: 7 days}
    next:
      - when: steps.call.outcome == 'won' or NEXT
        to: end
      - else: last
  - id: last
    do:
      - send_sms: {text: Bye}
"""


def test_steps_name_what_was_answered(tmp_path: Path) -> None:
    head = "goal: {event: purchase, when: steps.score.response.grade == 'A'}\nexit:\n  - when: steps.call.outcome == 'lost'\n"
    assert _refused(tmp_path, SCORE.replace("NEXT", "arrived"), head) == []


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        ("steps.scor.status", "there is no step 'scor'. Did you mean 'score'?"),
        ("steps.last.outcome", "step 'last' has no webhook_call and no create_task, so there is no answer to it"),
        ("steps.done.outcome", "step 'done' has no webhook_call and no create_task"),
    ],
)
def test_steps_that_answer_nothing_are_refused(tmp_path: Path, asked: str, said: str) -> None:
    [found] = _refused(tmp_path, SCORE.replace("NEXT", asked))
    assert said in found


def test_a_step_does_not_ask_for_its_own_answer_at_once(tmp_path: Path) -> None:
    steps = _do(
        "webhook_call: {url: 'https://crm.example.org/x'}",
        "    next:\n      - when: steps.only.status == 200\n        to: end\n      - else: end\n",
    )
    [found] = _refused(tmp_path, steps)
    assert "asks about an answer of its own step, 'only', which has only just been asked for; let the next step wait for it" in found


def test_on_a_loop_a_step_may_ask_about_its_round_before(tmp_path: Path) -> None:
    steps = "  - id: only\n    wait: 1 day\n    do:\n      - send_sms: {text: Hi, when: not clicked('only')}\n    next: WAY\n"
    assert _refused(tmp_path / "a", steps.replace("WAY", "{to: only, max_visits: 3, then: end}")) == []
    [found] = _refused(tmp_path / "b", steps.replace("WAY", "end"))
    assert "asks about a message of its own step" in found
