"""From the input of a person to a job in the queue, or to a refusal with its reason."""
