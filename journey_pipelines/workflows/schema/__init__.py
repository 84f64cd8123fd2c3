"""The JSON Schema (draft 2020-12) of a project's files, for editors: completion, hover texts and marks while somebody types.

Here live the shapes: which keys there are, of what kind, which of them exclude each other. Not here: what needs more than one place to
judge (does the step exist, is it reached, does the expression parse); `journeys validate` says that. Whatever `validate` accepts the
schema accepts too; a test holds the two together.
"""

from journey_pipelines.workflows.schema.project import FILE_NAME, MODELINES, schema, schema_text

__all__ = ["FILE_NAME", "MODELINES", "schema", "schema_text"]
