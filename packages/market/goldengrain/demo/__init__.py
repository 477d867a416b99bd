"""The demonstration: a whole market on one machine, through the same SDK that users call."""
