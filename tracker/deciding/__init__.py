"""Events and the clock to grants and rules. Pure: no I/O, and `now` is an argument."""
