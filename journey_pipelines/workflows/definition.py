"""A version of a workflow: everything that decides what its journeys do, and the hash that tells one version from the next."""

from __future__ import annotations

import hashlib
import json
from typing import Any

from pydantic import Field

from journey_pipelines.workflows.model import Model, Workflow
from journey_pipelines.workflows.project import AttributeType

# Presentation, status, and settings that are read from the current version whatever a journey's own is: changing them makes no version
_NOT_CONTENT = {"name", "description", "owner", "tags", "status", "runs", "limits", "on_resume", "in_flight"}


class Definition(Model):
    """The workflow, its templates and partials (file name, as an include says it -> text), and the catalogue's types of the attributes it
    names. `Definition.model_validate(d.model_dump(mode="json")) == d`.
    """

    workflow: Workflow
    templates: dict[str, str] = Field(default_factory=dict)
    catalogue: dict[str, AttributeType] = Field(default_factory=dict)

    def content_hash(self) -> str:
        """64 hex digits. Defaults are left out, so that a field added to the language later makes no new versions."""
        content = self.model_dump(mode="json", exclude_defaults=True)
        workflow: dict[str, Any] = {key: value for key, value in content["workflow"].items() if key not in _NOT_CONTENT}
        for part in [*workflow["triggers"], *workflow["steps"]]:
            part.pop("name", None)
            part.pop("position", None)
            for action in part.get("do", ()):
                action.pop("name", None)
        content["workflow"] = workflow
        return hashlib.sha256(canonical_json(content).encode()).hexdigest()


def canonical_json(value: Any) -> str:
    """JSON with sorted keys and no spaces: equal values give equal text."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
