"""Webhook actions: one request to the URL that the workflow rendered, behind the guard.

Called at least once: the header `webhook-id` is the message key (Standard Webhooks), by which a receiver knows a repetition. One
receiver's trouble is its own, so nothing here pauses the channel, and an unreachable host costs an attempt.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace

from journey_pipelines.delivery.channel import LEASE_RAN_OUT, METHOD, Answer, Capability, Outcome, Rendered
from journey_pipelines.delivery.channels.guard import Guard, Refused
from journey_pipelines.delivery.channels.http_answers import outcome_of_error, outcome_of_status
from journey_pipelines.delivery.channels.http_client import TOTAL_TIMEOUT, HttpClient
from journey_pipelines.delivery.failpoints import failpoint
from journey_pipelines.delivery.timing import uptime


class WebhookChannel:
    """`allow`: `host:port` pairs beside public addresses. `timeout` in seconds for one call."""

    name = "webhook"
    capability = Capability(idempotency="key", lookup=False, batch=200, verified_on="Standard Webhooks 1.0")

    def __init__(self, allow: Collection[str] = (), *, in_flight: int = 32, timeout: float = TOTAL_TIMEOUT) -> None:
        self._guard = Guard(allow)
        self._client = HttpClient(in_flight=in_flight, resolver=self._guard, total_timeout=timeout)

    def send(self, batch: Sequence[Rendered]) -> list[Outcome]:
        outcomes: list[Outcome] = [LEASE_RAN_OUT] * len(batch)

        async def one(item: tuple[int, Rendered]) -> None:
            index, message = item
            outcomes[index] = await self._send_one(message)

        self._client.each(one, list(enumerate(batch)))
        return outcomes

    def close(self) -> None:
        self._client.close()

    async def _send_one(self, message: Rendered) -> Outcome:
        if uptime() >= message.deadline:
            return LEASE_RAN_OUT
        content = message.content
        headers = {name: value for name, value in content.headers.items() if name != METHOD}
        headers |= {"User-Agent": "journey-pipelines", "webhook-id": message.key, "Idempotency-Key": message.key}
        body = content.text.encode() if content.text is not None else None
        failpoint("before_send")
        try:
            url = self._guard.check(content.address)
            answer = await self._client.request(content.headers.get(METHOD, "POST"), url, body, headers)
        except Refused as error:
            return Outcome("failed", str(error))
        except Exception as error:
            return outcome_of_error(error, shared=False)
        failpoint("after_yes")
        said = Answer(answer.status, answer.body)
        if 200 <= answer.status < 300:
            return Outcome("accepted", provider_message_id=answer.message_id(), answer=said)
        return replace(outcome_of_status(answer.status, answer.headers, answer.said(), "key", shared=False), answer=said)
