"""What the whole project declares that one workflow may name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from journey_pipelines.expressions import names as language
from journey_pipelines.workflows.project import Catalogue
from journey_pipelines.workflows.segments import Segment


@dataclass(frozen=True)
class Known:
    """segments: None = the project declares none, so any id is a static segment. workflows: id -> status, '' where it cannot be read.

    started: workflow -> payload keys that the project's `start_workflow` actions give it.
    """

    catalogue: Catalogue
    brand: Mapping[str, object]
    segments: Mapping[str, Segment | None] | None = None
    workflows: Mapping[str, str] = field(default_factory=dict)
    started: Mapping[str, frozenset[str]] = field(default_factory=dict)

    @property
    def declared(self) -> language.Catalogue:
        """What the expressions check against."""
        return language.Catalogue(
            attributes=self.catalogue.attributes or None,
            event_types=tuple(self.catalogue.events) if self.catalogue.events is not None else None,
            segments=tuple(self.segments) if self.segments is not None else None,
        )
