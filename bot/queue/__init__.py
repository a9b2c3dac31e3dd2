"""Who is next and when: the waiting line, the pure scheduler, and the dispatcher that hands jobs to the engine."""
