"""What the readers of actions share: texts with `{{ }}`, template files, headers, durations, each remembered for the checks that follow."""

from __future__ import annotations

import re
from typing import Literal

from journey_pipelines.workflows.fields import Fields, kind_of
from journey_pipelines.workflows.headers import header_problem
from journey_pipelines.workflows.reading import Reading, TemplateFile, TextTemplate
from journey_pipelines.workflows.yaml_nodes import Text

_TEMPLATE = re.compile(r"[a-z0-9][a-z0-9_-]{0,62}")


class ActionReader:
    """One action's mapping, the step it stands in and where findings go."""

    def __init__(self, fields: Fields, step: str, reading: Reading) -> None:
        self.fields, self.step, self.reading = fields, step, reading

    def text(self, key: str, *, needed: str | None = None, one_line: bool = True, computed: bool = False) -> dict[str, str]:
        """{key: text}, empty where it is absent or wrong; `needed` is the example shown where it is missing."""
        if needed is not None and self.fields.need(key, needed) is None:
            return {}
        value = self.fields.text(key, one_line=one_line) if key in self.fields.values else None
        if value is None:
            return {}
        node = self.fields.values[key]
        assert isinstance(node, Text)
        self.remember(node, key, computed=computed)
        return {key: value}

    def remember(self, node: Text, key: str, *, computed: bool) -> None:
        self.reading.texts.append(TextTemplate(node, f"{self.fields.what}: '{key}'", computed, self.step))

    def duration(self, key: str) -> dict[str, str]:
        value = self.fields.duration(key, elapsed=True) if key in self.fields.values else None
        return {key: value.text} if value else {}

    def template(self, needed: str, optional: str | None) -> dict[str, str]:
        node = self.fields.need("template", "hello")
        if node is None:
            return {}
        if not isinstance(node, Text) or not _TEMPLATE.fullmatch(node.written):
            self.fields.wrong(
                "template", f"the name of a file in the workflow's folder without its ending, such as hello for hello{needed}"
            )
            return {}
        self.reading.files.append(TemplateFile(node.at, node.written, needed, optional, self.step))
        return {"template": node.written}

    def headers(self, kind: Literal["mail", "http"]) -> dict[str, dict[str, str]]:
        node = self.fields.mapping("headers")
        headers: dict[str, str] = {}
        for key, value in node.items if node else ():
            problem = header_problem(key.written, kind)
            if problem:
                self.fields.problems.error(key.at, f"{self.fields.what}: {problem}")
            elif not isinstance(value, Text) or value.value is None or "\n" in value.written:
                self.fields.problems.error(
                    value.at, f"{self.fields.what}: header '{key.written}' expected text on one line, got {kind_of(value)}"
                )
            else:
                self.remember(value, f"headers.{key.written}", computed=False)
                headers[key.written] = value.written
        return {"headers": headers} if headers else {}
