"""From what a person typed or sent to a job in the queue, or to a refusal with its reason."""
