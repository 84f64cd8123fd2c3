-- A provider's event about a message in doubt is the proof that it was accepted.
UPDATE journeys.messages m SET state = 'accepted', reason = NULL, accepted_at = b.occurred_at, updated_at = %(now)s::timestamptz
  FROM batch_events b
 WHERE b.journey_id = m.journey_id AND m.message_key = journeys.txt(b.payload -> 'message_key') AND m.state = 'in_doubt'
   AND b.type IN ('message.accepted', 'message.delivered', 'message.opened', 'message.clicked', 'message.replied', 'message.bounced',
                  'message.complained', 'message.unsubscribed')
