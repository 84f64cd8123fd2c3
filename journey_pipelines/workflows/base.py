"""What all models of a project share."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

END = "end"
ID_PATTERN = r"^[a-z][a-z0-9_]{0,62}$"


class Model(BaseModel):
    """The base of all models of a project: frozen, and nothing unknown gets in."""

    model_config = ConfigDict(extra="forbid", frozen=True)
