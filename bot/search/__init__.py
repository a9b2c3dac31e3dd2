"""Search over the results: by words, by meaning and by filters, in a process of its own."""
