"""What the demo asks the Dagster webserver, over GraphQL as anybody could: is all of it up, and please make the reports."""

from __future__ import annotations

from datetime import date
from typing import Any

import httpx

LOCATION = "journeys"
REPORT_JOB = "report_journeys"

_READY = """
{ workspaceOrError { __typename ... on PythonError { message } ... on Workspace { locationEntries { name loadStatus
    locationOrLoadError { __typename ... on PythonError { message } } } } }
  instance { daemonHealth { allDaemonStatuses { daemonType required healthy } } } }
"""
_LAUNCH = """
mutation ($params: ExecutionParams!) { launchPipelineExecution(executionParams: $params) { __typename
    ... on LaunchRunSuccess { run { runId } } ... on PythonError { message } ... on RunConfigValidationInvalid { errors { message } }
    ... on PipelineNotFoundError { message } ... on PresetNotFoundError { message } ... on InvalidSubsetError { message } } }
"""
_RELOAD = "mutation ($name: String!) { reloadRepositoryLocation(repositoryLocationName: $name) { __typename } }"
_STATUS = "query ($id: ID!) { runOrError(runId: $id) { __typename ... on Run { status } } }"
_FAILURES = """
query ($id: ID!) { logsForRun(runId: $id) { __typename ... on EventConnection { events { __typename
    ... on ExecutionStepFailureEvent { error { message causes: errorChain { error { message } } } }
    ... on RunFailureEvent { message error { message } } ... on EngineEvent { error { message } } } } } }
"""
_FINISHED = {"SUCCESS", "FAILURE", "CANCELED"}


class WebserverError(RuntimeError):
    """Dagster answered that it cannot."""


class Webserver:
    """A running `dagster-webserver` at `url`."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._client = httpx.Client(base_url=url, timeout=10.0)

    def missing(self) -> str | None:
        """What is still missing before everything runs, in words, or None. Raises WebserverError for what waiting does not mend."""
        try:
            data = self._ask(_READY)
        except httpx.HTTPError:
            return "the web server does not answer yet"
        workspace = data["workspaceOrError"]
        if workspace["__typename"] == "PythonError":
            raise WebserverError(f"the workspace cannot be read: {workspace['message']}")
        for entry in workspace["locationEntries"]:
            loaded = entry["locationOrLoadError"] or {}
            if loaded.get("__typename") == "PythonError":
                raise WebserverError(f"the code location {entry['name']} does not load: {loaded['message']}")
            if entry["loadStatus"] != "LOADED" or not loaded:
                return "the code location is loading"
        late = [d["daemonType"] for d in data["instance"]["daemonHealth"]["allDaemonStatuses"] if d["required"] and not d["healthy"]]
        return f"waiting for the daemon ({', '.join(late).lower()})" if late else None

    def reload(self) -> None:
        """Have the code server started anew; whether it came up is `missing`'s to say."""
        self._ask(_RELOAD, name=LOCATION)

    def make_reports(self, first: date, last: date) -> str:
        """Request the reports of the days `first` to `last` in one run; returns its id."""
        tags = {"dagster/asset_partition_range_start": first.isoformat(), "dagster/asset_partition_range_end": last.isoformat()}
        params = {
            "selector": {"repositoryLocationName": LOCATION, "repositoryName": "__repository__", "pipelineName": REPORT_JOB},
            "runConfigData": {},
            "mode": "default",
            "executionMetadata": {"tags": [{"key": key, "value": value} for key, value in tags.items()]},
        }
        launched = self._ask(_LAUNCH, params=params)["launchPipelineExecution"]
        if launched["__typename"] != "LaunchRunSuccess":
            said = launched.get("message") or "; ".join(e["message"] for e in launched.get("errors", [])) or launched["__typename"]
            raise WebserverError(f"the reports of {first} to {last} were not accepted: {said}")
        return str(launched["run"]["runId"])

    def outcome(self, run_id: str) -> str | None:
        """SUCCESS, FAILURE or CANCELED; None while the run goes on."""
        run = self._ask(_STATUS, id=run_id)["runOrError"]
        return run["status"] if run.get("status") in _FINISHED else None

    def why(self, run_id: str) -> str:
        """The first error in a run's log, in one line; '' when it has none."""
        events = self._ask(_FAILURES, id=run_id)["logsForRun"].get("events", [])
        said = [cause["error"]["message"] for event in events if event.get("error") for cause in event["error"].get("causes") or []]
        said += [event["error"]["message"] for event in events if event.get("error")]
        said += [event["message"] for event in events if event.get("message")]
        return " ".join(said[0].split()) if said else ""

    def close(self) -> None:
        self._client.close()

    def _ask(self, query: str, **variables: Any) -> dict[str, Any]:
        answer = self._client.post("/graphql", json={"query": query, "variables": variables}).raise_for_status().json()
        if answer.get("errors"):
            raise WebserverError("; ".join(error["message"] for error in answer["errors"]))
        data: dict[str, Any] = answer["data"]
        return data
