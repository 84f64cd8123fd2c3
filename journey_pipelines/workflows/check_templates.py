"""Templates: each file is there and parses, and everything it names is provided: by the context, the policies or the catalogue."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from journey_pipelines.expressions import names as language
from journey_pipelines.expressions.errors import did_you_mean
from journey_pipelines.workflows.problems import Place, Problems, nearest, one_of
from journey_pipelines.workflows.project import Catalogue
from journey_pipelines.workflows.reading import Reading, TextTemplate
from journey_pipelines.workflows.templates import TemplateNames, names_of

PARTIALS = "partials"
# Delivery's context (message: the ledger's row), and what Jinja itself has
CONTEXT = ("customer", "event", "arrived", "journey", "brand", "message", "current_date", "now")
_JINJA = frozenset({"loop", "caller", "self", "super"})
_MESSAGE_FIELDS = ("message_key", "step", "action", "channel", "workflow", "category", "topic", "planned_at")
_MAX_BYTES = 200_000
_BESIDES = (
    "It is for conditions and for the texts of tasks, events and profiles: let a step before write it down with update_profile. The text "
    "of a message can use"
)


@dataclass
class TemplateChecks:
    """The templates of one workflow. `run` reports; `texts` is then what a version holds, `attributes` what they name of the catalogue."""

    reading: Reading
    folder: Path
    catalogue: Catalogue
    brand: Mapping[str, object]
    texts: dict[str, str] = field(default_factory=dict)
    attributes: set[str] = field(default_factory=set)
    names: dict[str, TemplateNames] = field(default_factory=dict)

    @property
    def problems(self) -> Problems:
        return self.reading.problems

    def run(self) -> None:
        for wanted in self.reading.files:
            name = wanted.name + wanted.needed
            if self._load(name, wanted.at, f"step {wanted.step}: template '{wanted.name}'"):
                self._check_file(name)
            if wanted.optional and (self.folder / (wanted.name + wanted.optional)).is_file():
                self._load(wanted.name + wanted.optional, wanted.at, f"step {wanted.step}: template '{wanted.name}'")
                self._check_file(wanted.name + wanted.optional)
        for text in self.reading.texts:
            if not text.computed:
                self._check_text(text)

    # -- files -------------------------------------------------------------------------------------------------------

    def _load(self, name: str, at: Place, label: str) -> bool:
        """Read a template and all it includes into `texts`; False where there is no such file."""
        if name in self.texts:
            return True
        partials = self.folder.parent / PARTIALS
        own, shared = self.folder / name, partials / name
        file = own if own.is_file() else shared
        if not file.is_file() or file.resolve().parent not in (self.folder.resolve(), partials.resolve()):
            there = [*_names_in(self.folder), *_names_in(partials)]
            near = did_you_mean(name, there)
            self.problems.error(at, f"{label}: expected the file {name} in {self.folder.name}/ or {PARTIALS}/, found none.{near}")
            return False
        if own.is_file() and shared.is_file():
            self.problems.error(Place(own), f"{PARTIALS}/ has a file called {name} too; rename one of the two")
        try:
            text = file.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            self.problems.error(Place(file), f"cannot be read as UTF-8 text: {error}")
            return False
        if len(text) > _MAX_BYTES:
            self.problems.error(Place(file), f"expected at most {_MAX_BYTES:,} characters, got {len(text):,}")
            return False
        if "\0" in text:
            self.problems.error(Place(file, text.count("\n", 0, text.index("\0")) + 1), "holds the character NUL; remove it")
            return False
        self.texts[name] = text
        names = self.names[name] = names_of(text)
        for trouble in names.troubles:
            self.problems.error(Place(file, trouble.line), trouble.message)
        for included, line in names.includes:
            self._load(included, Place(file, line), f"'{included}'")
        return True

    def _closure(self, name: str) -> list[str]:
        """The template and what it includes, extends or imports, each once."""
        found, left = [], [name]
        while left:
            current = left.pop()
            if current in found or current not in self.names:
                continue
            found.append(current)
            left.extend(included for included, _ in self.names[current].includes)
        return found

    def _check_file(self, name: str) -> None:
        closure = self._closure(name)
        assigned = set[str]().union(*(self.names[part].assigned for part in closure))
        if any(self.names[part].troubles for part in closure):
            # what could not be read may set any name
            assigned |= set[str]().union(*(self.names[part].free for part in closure))
        for part in closure:
            own = self.folder / part
            file = own if own.is_file() else self.folder.parent / PARTIALS / part
            self._check_names(self.names[part], assigned, lambda line, file=file: Place(file, line), "")  # type: ignore[misc]

    # -- texts in workflow.yaml --------------------------------------------------------------------------------------

    def _check_text(self, text: TextTemplate) -> None:
        names = names_of(text.node.written)
        for trouble in names.troubles:
            self.problems.error(text.node.at, f"{text.label}: {trouble.message}")
        for included, _ in names.includes:
            self.problems.error(text.node.at, f"{text.label}: '{included}' can only be included in a template file")
        if not names.troubles:
            self._check_names(names, names.assigned, lambda _: text.node.at, f"{text.label}: ")

    # -- names -------------------------------------------------------------------------------------------------------

    def _check_names(self, names: TemplateNames, assigned: set[str], at: Callable[[int], Place], label: str) -> None:
        provided = {*CONTEXT, *assigned, *_JINJA, *(["unsubscribe_url"] if "unsubscribe_url" in self.brand else [])}
        for name in sorted(names.free.keys() - provided):
            near = f" Did you mean 'customer.{name}'?" if name in {*language.CUSTOMER_COLUMNS, *self.catalogue.attributes} else ""
            near = near or did_you_mean(name, sorted(provided - _JINJA))
            if name == "unsubscribe_url":
                near = " Give policies.yaml a brand.unsubscribe_url"
            elif name == "steps" or name in language.FUNCTIONS:
                near = f" {_BESIDES} {one_of(sorted(set(CONTEXT) - {'now'}))}"
            self.problems.error(at(names.free[name]), f"{label}nothing provides '{name}'.{near}")
        for use in names.written:
            if use.object == "customer" and self._is_time(use.key) and "webhook_call" not in label:
                self.problems.warn(
                    at(use.line),
                    f"{label}customer.{use.key} is a time and is written as 2026-03-01T00:00:00Z: write "
                    f"{{{{ customer.{use.key} | date('%d.%m.%Y') }}}}",
                )
        for use in names.uses:
            match use.object:
                case "customer":
                    self._customer(use.key, use.safe, at(use.line), label)
                case "brand" if use.key not in self.brand and not use.safe:
                    self.problems.error(at(use.line), f"{label}policies.yaml has no brand.{use.key}.{did_you_mean(use.key, self.brand)}")
                case "journey":
                    self._known("journey", use.key, language.JOURNEY_FIELDS, at(use.line), label)
                case "message":
                    self._known("message", use.key, _MESSAGE_FIELDS, at(use.line), label)

    def _is_time(self, key: str) -> bool:
        kind = self.catalogue.attributes.get(key)
        return language.CUSTOMER_COLUMNS.get(key) == "ts" or (kind is not None and language.CATALOGUE_KINDS[kind] == "ts")

    def _customer(self, key: str, safe: bool, at: Place, label: str) -> None:
        if key in self.catalogue.attributes:
            self.attributes.add(key)
        elif key not in language.CUSTOMER_COLUMNS and not safe:
            near = nearest(key, [*self.catalogue.attributes, *language.CUSTOMER_COLUMNS])
            self.problems.error(
                at,
                f"{label}customer.{key} has no `default` and catalogue.yaml declares no such attribute: write "
                f"{{{{ customer.{key} | default('...') }}}}, or declare it.{near}",
            )

    def _known(self, name: str, key: str, fields: Mapping[str, object] | tuple[str, ...], at: Place, label: str) -> None:
        if key not in fields:
            self.problems.error(at, f"{label}{name}.{key}: {name} has {one_of(fields)}.{nearest(key, fields)}")


def _names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.suffix in (".html", ".txt")) if folder.is_dir() else []
