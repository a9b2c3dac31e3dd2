"""What holds for a person: the limits, and the rules of moderators that change them."""
