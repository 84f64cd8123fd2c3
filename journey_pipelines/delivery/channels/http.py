"""SMS and push through a generic HTTP provider.

POST, JSON, one message a request: `{"to": ..., "text": ..., "message_key": ...}`, push also `title` and what the action adds; headers
`Idempotency-Key` (the message key) and `Authorization: Bearer`. Any 2xx is a yes, and an `id` in its JSON is kept. The provider must
accept a key once, for as long as messages are retried; one that does not is configured with `idempotency="none"`.
"""

from __future__ import annotations

import json
from collections.abc import Sequence

from pydantic import SecretStr

from journey_pipelines.delivery.addresses import CHECKS, BadAddress
from journey_pipelines.delivery.channel import LEASE_RAN_OUT, Capability, Idempotency, Outcome, Rendered
from journey_pipelines.delivery.channels.http_answers import outcome_of_error, outcome_of_status
from journey_pipelines.delivery.channels.http_client import TOTAL_TIMEOUT, HttpClient
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.timing import uptime


class HttpChannel:
    """`name` is `sms` or `push`. `timeout` in seconds for one request."""

    def __init__(
        self,
        name: str,
        url: str,
        key: SecretStr | None = None,
        *,
        idempotency: Idempotency = "key",
        in_flight: int = 32,
        timeout: float = TOTAL_TIMEOUT,
    ) -> None:
        self.name = name
        self.url = url
        # without keys a killed worker leaves its whole batch in doubt
        self.capability = Capability(idempotency, lookup=False, batch=500 if idempotency == "key" else 50, verified_on="our own protocol")
        self._headers = {"Content-Type": "application/json", "User-Agent": "journey-pipelines"}
        if key is not None:
            self._headers["Authorization"] = f"Bearer {key.get_secret_value()}"
        self._client = HttpClient(in_flight=in_flight, total_timeout=timeout)

    def send(self, batch: Sequence[Rendered]) -> list[Outcome]:
        outcomes: list[Outcome | None] = [None] * len(batch)
        stop: list[Outcome] = []

        async def one(item: tuple[int, Rendered]) -> None:
            index, message = item
            if stop:
                return
            outcome = outcomes[index] = await self._send_one(message)
            if outcome.pause is not None:
                stop.append(outcome)

        self._client.each(one, list(enumerate(batch)))
        # what stopped the channel is true for those that were not tried
        return [outcome or stop[0] for outcome in outcomes]

    def close(self) -> None:
        self._client.close()

    async def _send_one(self, message: Rendered) -> Outcome:
        if uptime() >= message.deadline:
            return LEASE_RAN_OUT
        try:
            body = self._body(message)
        except BadAddress as error:
            return Outcome("failed", str(error))
        failpoint("before_send")
        try:
            answer = await self._client.request("POST", self.url, body, {**self._headers, "Idempotency-Key": message.key})
        except Exception as error:
            # whatever it was: one message's trouble never takes the batch with it
            return outcome_of_error(error, shared=True)
        failpoint("after_yes")
        if 200 <= answer.status < 300:
            return Outcome("accepted", provider_message_id=answer.message_id())
        return outcome_of_status(answer.status, answer.headers, answer.said(), self.capability.idempotency, shared=True)

    def _body(self, message: Rendered) -> bytes:
        content = message.content
        fields = {"to": CHECKS[self.name](content.address), "text": content.text or "", "message_key": message.key}
        if content.subject is not None:
            fields["title"] = content.subject
        # an action's further fields (a push's link) travel as headers do: beside the text, by name
        return json.dumps({**content.headers, **fields}, ensure_ascii=False).encode()
